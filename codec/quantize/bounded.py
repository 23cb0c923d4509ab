"""Residual stacks of scalar quantizers, whose latents are bounded once, before the first stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from codec.quantize.layout import project
from codec.quantize.residual import ResidualQuantizer
from codec.quantize.scalar import DigitQuantizer


class BoundedResidualQuantizer(ResidualQuantizer):
    """A residual stack in a space of its own: latents are projected to it, bounded, coded, and projected back.

    FSQ: every stage cuts the cell that the one before chose (`CellQuantizer`), so what is left always fits the next.
    BSQ: a binary expansion of a point of the unit sphere, with steps of 2^-i / sqrt(d) from i = 0; a coordinate beyond
    2 / sqrt(d) stays out of its reach.
    """

    def __init__(
        self,
        stages: Sequence[DigitQuantizer],
        bound: Callable[[Tensor], Tensor],
        *,
        dim: int,
        dropout: float,
        dropout_bias: float,
    ) -> None:
        super().__init__(stages, dim=dim, dropout=dropout, dropout_bias=dropout_bias)
        width = stages[0].width
        self.bound = bound
        self.project_in = nn.Linear(dim, width) if width != dim else None
        self.project_out = nn.Linear(width, dim) if width != dim else None

    def _enter(self, latents: Tensor) -> Tensor:
        return self.bound(project(self.project_in, latents.movedim(1, -1))).movedim(-1, 1)

    def _leave(self, outputs: Tensor) -> Tensor:
        return project(self.project_out, outputs.movedim(1, -1)).movedim(-1, 1)
