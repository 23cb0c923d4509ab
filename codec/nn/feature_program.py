"""Features of a network of one's own: anything that torch.export writes can be heard through."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from codec.core.config import Config
from codec.core.errors import UserError
from codec.core.program import load_program

MOST_MISSING = 2  # frames that a network may leave out at the ends of a recording


class ProgramConfig(Config):
    """A network from signal `[1, samples]`, float32 in [-1, 1], to features `[1, frames, num_features]`.

    Attributes:
        program: file that `torch.export.save` wrote, of a network that takes any length.
        sha256: of the file, if it must be that one.
        hop_length: samples between its frames.
        num_features: per frame.
        normalise: bring every feature of a recording to mean 0 and deviation 1.
    """

    kind: Literal["program"] = "program"
    program: Path
    sha256: str | None = None
    hop_length: PositiveInt
    num_features: PositiveInt
    normalise: bool = False


class ProgramFeatures(nn.Module):
    """Features `[b, num_features, time // hop_length]` of speech `[b, time]`, row by row.

    Frames that the network leaves out at the end of a row repeat its last.

    Raises:
        UserError: the file is no such program, or not that of `sha256`.
    """

    def __init__(self, config: ProgramConfig):
        super().__init__()
        self.config = config
        self._program = (load_program(config.program),)  # no submodule: it is not saved, and knows no eval()
        found = hashlib.sha256(config.program.read_bytes()).hexdigest()
        if config.sha256 not in (None, found):
            raise UserError(f"{config.program} has SHA-256 {found}, not {config.sha256}: it is another program")

    def forward(self, signal: Tensor) -> Tensor:
        return torch.cat([self._row(row[None]) for row in signal])

    def _row(self, signal: Tensor) -> Tensor:
        try:
            features = self._program[0].to(signal.device)(signal)
        except Exception as error:
            first_line = str(error).partition("\n")[0]
            raise UserError(f"{self.config.program} does not take {signal.shape[1]} samples: {first_line}") from None
        frames, num_features = signal.shape[1] // self.config.hop_length, self.config.num_features
        missing = frames - features.shape[1]
        if features.dim() != 3 or features.shape[2] != num_features or not -1 <= missing <= MOST_MISSING:
            raise UserError(
                f"{self.config.program} gives {list(features.shape)} for {signal.shape[1]} samples; hop_length and "
                f"num_features ask for [1, {frames}, {num_features}]"
            )
        features = features.float().transpose(1, 2)[..., :frames]
        return F.pad(features, (0, max(0, missing)), mode="replicate")
