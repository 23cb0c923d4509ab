"""Residual stacks of scalar quantizers: latents are bounded once, so that what is left always fits the next stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from codec.quantize.layout import project
from codec.quantize.residual import ResidualQuantizer
from codec.quantize.scalar import DigitQuantizer


class BoundedResidualQuantizer(ResidualQuantizer):
    """A residual stack in a space of its own: latents are projected to it, bounded, coded, and projected back.

    FSQ: every stage cuts the cell that the one before chose (`CellQuantizer`). BSQ: the stages' levels are 2^-i, on the
    residual of a point of the unit sphere.
    """

    def __init__(
        self, stages: Sequence[DigitQuantizer], bound: Callable[[Tensor], Tensor], *, dim: int, dropout: float
    ) -> None:
        super().__init__(stages, dim=dim, dropout=dropout)
        width = stages[0].width
        self.bound = bound
        self.project_in = nn.Linear(dim, width) if width != dim else None
        self.project_out = nn.Linear(width, dim) if width != dim else None

    def _enter(self, latents: Tensor) -> Tensor:
        return self.bound(project(self.project_in, latents.movedim(1, -1))).movedim(-1, 1)

    def _leave(self, outputs: Tensor) -> Tensor:
        return project(self.project_out, outputs.movedim(1, -1)).movedim(-1, 1)
