"""FSQ: finite scalar quantization, every channel rounded to one of a few levels (Mentzer et al. 2024)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import field_validator
from torch import Tensor, nn

from codec.quantize.layout import project
from codec.quantize.residual import ResidualQuantizer
from codec.quantize.rows import RowConfig
from codec.quantize.scalar import DigitQuantizer

MARGIN = 1e-3  # by which the bounds overshoot, so that the outermost levels can be reached


class FSQConfig(RowConfig):
    """Finite scalar quantization.

    Attributes:
        levels: number of levels of each channel; their product is the codebook size. Other widths of latents are
            projected to this many channels and back.
    """

    kind: Literal["fsq"] = "fsq"
    levels: tuple[int, ...] = (8, 5, 5, 5)

    @field_validator("levels")
    @classmethod
    def _levels_make_a_code(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
        if not levels or min(levels) < 2 or math.prod(levels) >= 1 << 62:
            raise ValueError("want one number of levels per channel, each 2 or more, their product below 2^62")
        return levels


class RoundingQuantizer(DigitQuantizer):
    """The nearest of the levels of each channel; latents are within bounds already.

    A channel of L levels has the values (k - floor(L / 2)) / floor(L / 2), k = 0 .. L - 1: from -1 to 1 if L is odd.
    """

    def __init__(self, config: FSQConfig, dim: int) -> None:
        super().__init__(config, dim, radices=config.levels)

    def _digits(self, rows: Tensor) -> Tensor:
        half = self.radices // 2
        return (rows * half).round() + half

    def _values(self, digits: Tensor) -> Tensor:
        half = self.radices // 2
        return (digits - half).float() / half


class FSQQuantizer(RoundingQuantizer):
    """Bounds each channel, then rounds it to its levels, straight through (Mentzer et al. 2024, section 3.1).

    f(z) = (h tanh(z + s) - o) / floor(L / 2) with h = (L - 1) / 2, o = 1/2 for even L else 0, and s such that f(0) = 0.
    Nothing is learned and there is no loss. `distortion` is the mean of (f(z) - q)^2.
    """

    def __init__(self, config: FSQConfig, dim: int) -> None:
        super().__init__(config, dim)
        self.bound = Bound(config.levels)

    def _condition(self, rows: Tensor) -> Tensor:
        return self.bound(rows)


class CellQuantizer(DigitQuantizer):
    """A later stage of residual FSQ: cuts the cell that the stages before chose into L equal ones, per channel."""

    def __init__(self, config: FSQConfig, stage: int) -> None:
        super().__init__(config, len(config.levels), radices=config.levels)
        self.cells: Tensor  # in the reach of 1, per channel
        self.register_buffer("cells", self.radices // 2 * self.radices ** (stage - 1), persistent=False)

    def _digits(self, rows: Tensor) -> Tensor:
        digits = ((rows * self.cells + 0.5) * self.radices).floor()
        return digits.clamp_min(0).minimum(self.radices - 1.0)

    def _values(self, digits: Tensor) -> Tensor:
        return ((digits + 0.5) / self.radices - 0.5) / self.cells


class ResidualFSQQuantizer(ResidualQuantizer):
    """FSQ whose rounding error is coded again, and again: stage i is L times finer than stage i - 1.

    Latents are projected and bounded once, before the first stage, so that what is left always fits the next; the
    sum of the stages is projected back.
    """

    def __init__(self, config: FSQConfig, dim: int, *, num_codebooks: int, dropout: float) -> None:
        width = len(config.levels)
        finer = [CellQuantizer(config, stage) for stage in range(1, num_codebooks)]
        super().__init__([RoundingQuantizer(config, width), *finer], dim=dim, dropout=dropout)
        self.bound = Bound(config.levels)
        self.project_in = nn.Linear(dim, width) if width != dim else None
        self.project_out = nn.Linear(width, dim) if width != dim else None

    def _enter(self, latents: Tensor) -> Tensor:
        return self.bound(project(self.project_in, latents.movedim(1, -1))).movedim(-1, 1)

    def _leave(self, outputs: Tensor) -> Tensor:
        return project(self.project_out, outputs.movedim(1, -1)).movedim(-1, 1)


class Bound(nn.Module):
    """Squashes each channel `[..., D]` to the reach of its levels; what is not finite becomes NaN."""

    def __init__(self, levels: tuple[int, ...]) -> None:
        super().__init__()
        self.levels: Tensor
        self.register_buffer("levels", torch.tensor(levels), persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        half = self.levels // 2
        reach = (self.levels - 1.0) * ((1 + MARGIN) / 2)
        offset = 0.5 * (self.levels % 2 == 0)
        infinite = rows - rows  # 0, but NaN where the tangent would hide an infinity
        return ((rows + (offset / reach).atanh()).tanh() * reach - offset) / half + infinite
