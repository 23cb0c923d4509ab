"""Exact nearest neighbour of many vectors in a codebook, in float32 and in little memory."""

from __future__ import annotations

import torch
from torch import Tensor

from codec.core.precision import float32_island

CPU_ROWS = 1024  # rows whose distances stay in the processor's cache; more is slower
CPU_CELLS = 1 << 23  # distances held at once, 32 MiB
GPU_CELLS = 1 << 26


@torch.no_grad()
def nearest(rows: Tensor, codebook: Tensor, *, excluded: Tensor | None = None) -> Tensor:
    """Index `[N]` (int64) of the codebook entry nearest to each of `rows` `[N, D]`, for `codebook` `[K, D]`.

    The squared distance |x - c|^2 = |x|^2 - 2 x.c + |c|^2 is compared without |x|^2, and |c|^2 / 2 rides along as an
    extra column of the product. Both sides are first centred on the codebook's mean: far from the origin the three
    terms cancel and a rounding error would decide. No gradient flows, and no more than one chunk of N x K exists.

    Args:
        excluded: `[K]` bool, entries that must not be found; at least one must stay.
    """
    rows, codebook = rows.float(), codebook.float()
    centre = codebook.mean(0)
    centred = codebook - centre
    bias = centred.square().sum(1).mul_(0.5)
    if excluded is not None:
        bias = bias.masked_fill(excluded, float("inf"))
    table = torch.cat((centred.neg(), bias[:, None]), 1).t()
    found = []
    with float32_island(rows.device.type):
        for chunk in rows.split(_chunk_rows(rows.device, codebook.shape[0])):
            homogeneous = torch.cat((chunk - centre, chunk.new_ones(chunk.shape[0], 1)), 1)
            found.append((homogeneous @ table).min(1).indices)
    return found[0] if len(found) == 1 else torch.cat(found)


@torch.no_grad()
def squared_distance(rows: Tensor, others: Tensor) -> Tensor:
    """|x - y|^2 per row, summed over channels, by direct difference: exactly 0 where the two are equal."""
    return (rows - others).square().sum(-1)


def _chunk_rows(device: torch.device, codebook_size: int) -> int:
    if device.type == "cpu":
        return max(1, min(CPU_ROWS, CPU_CELLS // codebook_size))
    return max(1, GPU_CELLS // codebook_size)
