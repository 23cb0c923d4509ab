"""Features of a network of one's own: anything that torch.export writes can be heard through."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt, model_validator
from torch import Tensor, nn

from codec.core.config import Config
from codec.core.errors import UserError
from codec.core.program import load_program

MOST_MISSING = 2  # frames that a network may leave out at the ends of a recording


class ProgramConfig(Config):
    """A network from signal `[1, samples]`, float32 in [-1, 1], to features `[1, frames, num_features]`.

    Attributes:
        program: file that `torch.export.save` wrote, of a network that takes any length; kept as an absolute path.
        sha256: of the file, which must be that one; that of the file as it is now if nothing is said.
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

    @model_validator(mode="before")
    @classmethod
    def _pin(cls, tree: Any) -> Any:
        """Say which file `program` is, so that a model on top of it has another fingerprint with another file."""
        if not isinstance(tree, dict) or not isinstance(tree.get("program"), str | Path):
            return tree
        path = Path(os.path.abspath(tree["program"]))
        pinned = tree.get("sha256")
        return {**tree, "program": path, "sha256": _digest(path) if pinned is None else pinned}


class ProgramFeatures(nn.Module):
    """Features `[b, num_features, time // hop_length]` of speech `[b, time]`, row by row.

    Frames that the network leaves out at the end of a row repeat its last.

    Raises:
        UserError: the file is no such program, or not that of `sha256`.
    """

    def __init__(self, config: ProgramConfig):
        super().__init__()
        self.config = config
        program = load_program(config.program, sha256=config.sha256)
        self._program = (program,)  # no submodule: it is not saved, and knows no eval()

    def forward(self, signal: Tensor) -> Tensor:
        return torch.cat([self._row(row[None]) for row in signal])

    def _row(self, signal: Tensor) -> Tensor:
        try:
            features = self._program[0].to(signal.device)(signal)
        except Exception as error:
            first_line = str(error).partition("\n")[0]
            raise UserError(f"{self.config.program} does not take {signal.shape[1]} samples: {first_line}") from None
        frames, num_features = signal.shape[1] // self.config.hop_length, self.config.num_features
        if not _fits(features, frames, num_features):
            found = list(features.shape) if isinstance(features, Tensor) else f"{type(features).__name__}, no tensor,"
            raise UserError(
                f"{self.config.program} gives {found} for {signal.shape[1]} samples; hop_length and num_features "
                f"ask for [1, {frames}, {num_features}]"
            )
        features = features.float().transpose(1, 2)[..., :frames]
        return F.pad(features, (0, max(0, frames - features.shape[2])), mode="replicate")


def _fits(features: Any, frames: int, num_features: int) -> bool:
    if not isinstance(features, Tensor) or features.dim() != 3:
        return False
    batch, found, width = features.shape
    return (batch, width) == (1, num_features) and found > 0 and -1 <= frames - found <= MOST_MISSING


def _digest(path: Path) -> str | None:
    """SHA-256 of a file; None if it cannot be read, which loading it will tell."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
