"""What is known at each position before the first code: where it is, its class, and the coarser codes around it."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from codec.core.errors import UserError
from codec.nn import Chain, ResidualUnit, UpsamplingConv
from codec.priors.base import Condition, Geometry
from codec.priors.embedding import CodeEmbedding

_OCTAVES = 4


class Conditioner(nn.Module):
    """A map of features, the sum of three: place, class, and coarser codes (Razavi et al. 2019, section 3.2).

    The levels above are embedded one after the other, coarse to fine: each is added to what came from above it, goes
    through residual units, and is upsampled to the next.

    Args:
        width: of the features.
        num_units: residual units per coarser level.

    Raises:
        UserError: the factor of a level is no multiple of that of the next finer.
    """

    def __init__(self, geometry: Geometry, width: int, *, num_units: int):
        super().__init__()
        self.geometry, self.width = geometry, width
        self.place = nn.Linear(2 * _OCTAVES * geometry.ndim, width)
        self.label = nn.Embedding(geometry.num_classes, width) if geometry.num_classes else None
        grids = (*geometry.coarser, geometry.level)
        self.codes = nn.ModuleList(CodeEmbedding(grid, width) for grid in geometry.coarser)
        self.stacks = nn.ModuleList()
        for grid, finer in itertools.pairwise(grids):
            stride, rest = divmod(grid.downsample_factor, finer.downsample_factor)
            if rest:
                raise UserError(
                    f"a level of factor {grid.downsample_factor} lies above one of {finer.downsample_factor}: "
                    "each must be a multiple of the next finer"
                )
            units = [ResidualUnit(width, ndim=geometry.ndim) for _ in range(num_units)]
            upsampling = UpsamplingConv(width, width, 2 * stride, ndim=geometry.ndim, stride=stride)
            self.stacks.append(Chain(*units, upsampling))

    def forward(self, condition: Condition, size: tuple[int, ...], batch: int) -> Tensor:
        """Features `[b, *size, width]`."""
        known = self.place(_place(size, self.place.weight)).expand(batch, *size, self.width)
        if self.label is not None and condition.labels is not None:
            known = known + self.label(condition.labels).view(batch, *[1] * len(size), self.width)
        if condition.coarser:
            known = known + self._from_above(condition.coarser, size)
        return known

    def _from_above(self, coarser: tuple[Tensor, ...], size: tuple[int, ...]) -> Tensor:
        extents = [*(tuple(codes.shape[2:]) for codes in coarser[1:]), size]
        above = self.place.weight.new_zeros(())
        for codes, embedding, stack, extent in zip(coarser, self.codes, self.stacks, extents, strict=True):
            above = stack(above + embedding(codes).sum(1).movedim(-1, 1))[(..., *[slice(n) for n in extent])]
        return above.movedim(1, -1)


def _place(size: tuple[int, ...], like: Tensor) -> Tensor:
    """Sines and cosines `[*size, features]` of each axis's relative position, at octaves from half a period up."""
    waves = []
    for axis, extent in enumerate(size):
        along = (torch.arange(extent, device=like.device) + 0.5) / extent
        angles = math.pi * along[:, None] * 2.0 ** torch.arange(_OCTAVES, device=like.device)
        features = torch.cat((angles.sin(), angles.cos()), dim=-1).to(like.dtype)
        shape = [extent if other == axis else 1 for other in range(len(size))]
        waves.append(features.view(*shape, -1).expand(*size, -1))
    return torch.cat(waves, dim=-1)
