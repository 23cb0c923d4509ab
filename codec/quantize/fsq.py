"""FSQ: finite scalar quantization, every channel rounded to one of a few levels (Mentzer et al. 2024)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import field_validator
from torch import Tensor, nn

from codec.quantize.rows import RowConfig
from codec.quantize.scalar import DigitQuantizer

MARGIN = 1e-3  # by which the bounds overshoot, so that the outermost levels can be reached


class FSQConfig(RowConfig):
    """Finite scalar quantization.

    Attributes:
        levels: number of levels of each channel; their product is the codebook size. Other widths of latents are
            projected to this many channels and back. The paper advises 5 or more; of 2, by its formula, one is hardly
            ever left: for bits take `lfq`.
        bound: how a channel comes within its levels: `tanh` as in the paper, or `clip` for latents that are meant to be
            in [-1, 1] as they are, such as transform coefficients.
    """

    kind: Literal["fsq"] = "fsq"
    levels: tuple[int, ...] = (8, 5, 5, 5)
    bound: Literal["tanh", "clip"] = "tanh"

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
        digits = (rows * half).round() + half
        return digits.clamp_min(0).minimum(self.radices - 1.0)

    def _values(self, digits: Tensor) -> Tensor:
        half = self.radices // 2
        return (digits - half).float() / half


class FSQQuantizer(RoundingQuantizer):
    """Bounds each channel, then rounds it to its levels, straight through (Mentzer et al. 2024, section 3.1).

    f(z) = (h tanh(z + s) - o) / floor(L / 2) with h = (L - 1) / 2 and a margin of 0.1 %, o = 1/2 for even L else 0, and
    s such that f(0) = 0.
    Nothing is learned and there is no loss. `distortion` is the mean of (f(z) - q)^2.
    """

    def __init__(self, config: FSQConfig, dim: int) -> None:
        super().__init__(config, dim)
        self.bound = build_bound(config)

    def _condition(self, rows: Tensor) -> Tensor:
        return self.bound(rows)


class CellQuantizer(DigitQuantizer):
    """A later stage of residual FSQ: cuts the cell that the stages before chose into L equal ones, per channel."""

    float32_buffers = ("ema_counts", "cells")

    def __init__(self, config: FSQConfig, stage: int) -> None:
        super().__init__(config, len(config.levels), radices=config.levels)
        self.cells: Tensor  # in the reach of 1, per channel
        cells = self.radices // 2 * self.radices.float() ** (stage - 1)
        self.register_buffer("cells", cells, persistent=False)

    def _digits(self, rows: Tensor) -> Tensor:
        digits = ((rows * self.cells + 0.5) * self.radices).floor()
        return digits.clamp_min(0).minimum(self.radices - 1.0)

    def _values(self, digits: Tensor) -> Tensor:
        return ((digits + 0.5) / self.radices - 0.5) / self.cells


class Clip(nn.Module):
    """Cuts `[..., D]` off at -1 and 1; what is not finite becomes NaN."""

    def forward(self, rows: Tensor) -> Tensor:
        return rows.clamp(-1.0, 1.0) + (rows - rows)


class Squash(nn.Module):
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


def build_bound(config: FSQConfig) -> nn.Module:
    """What brings channels `[..., D]` within the reach of their levels."""
    return Clip() if config.bound == "clip" else Squash(config.levels)
