"""Exact lookups of many vectors in a table, in float32 and in little memory: the nearest entry, and the best match."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from codec.core.precision import float32_island
from codec.quantize import search_cpu, triton_search

CELLS = 1 << 26  # scores held at once on a device that has no search of its own


@torch.no_grad()
def nearest(rows: Tensor, codebook: Tensor, *, excluded: Tensor | None = None) -> Tensor:
    """Index `[N]` (int64) of the codebook entry nearest to each of `rows` `[N, D]`, for `codebook` `[K, D]`.

    The squared distance |x - c|^2 = |x|^2 - 2 x.c + |c|^2 is compared without |x|^2, as |c|^2 / 2 - x.c. Both sides
    are first centred on the codebook's mean: far from the origin the terms cancel and a rounding error would decide.
    No gradient flows, and no more than one chunk of N x K exists.

    Args:
        excluded: `[K]` bool, entries that must not be found; at least one must stay.
    """
    codebook = codebook.float()
    centre = codebook.mean(0)
    centred = codebook - centre
    offset = centred.square().sum(1).mul_(0.5)
    if excluded is not None:
        offset = offset.masked_fill(excluded, float("inf"))
    return least(rows.float() - centre, centred, offset)


@torch.no_grad()
def best_match(rows: Tensor, table: Tensor, bias: Tensor | None = None) -> Tensor:
    """Index `[N]` (int64) of the largest x.t_k + bias_k for each of `rows` `[N, D]`; `table` `[K, D]`, `bias` `[K]`."""
    offset = table.new_zeros(table.shape[0], dtype=torch.float32) if bias is None else -bias.float()
    return least(rows.float(), table.float(), offset)


@torch.no_grad()
def squared_distance(rows: Tensor, others: Tensor) -> Tensor:
    """|x - y|^2 per row, summed over channels, by direct difference: exactly 0 where the two are equal."""
    return (rows - others).square().sum(-1)


def least(rows: Tensor, table: Tensor, offset: Tensor) -> Tensor:
    """Index `[N]` (int64) of the least offset_k - x.t_k for each x of `rows`; of equal scores the first wins.

    `rows` `[N, D]`, `table` `[K, D]` and `offset` `[K]` are float32. An exported program holds plain operators, since
    it must run without this package, and a compiled one a single node, since a loop over chunks would be unrolled.
    """
    if torch.compiler.is_exporting():
        with float32_island(rows.device.type):
            return torch.addmm(offset, rows, table.t(), alpha=-1).argmin(1)
    if torch.compiler.is_compiling() or isinstance(rows, FakeTensor):
        return _least_node(rows, table, offset)
    return _least_now(rows, table, offset)


def _least_now(rows: Tensor, table: Tensor, offset: Tensor) -> Tensor:
    with float32_island(rows.device.type):
        if rows.device.type == "cpu":
            return search_cpu.least(rows, table, offset)
        if rows.device.type == "cuda" and triton_search.is_available():
            return triton_search.least(rows, table, offset)
        return _by_chunks(rows, table, offset)


def _by_chunks(rows: Tensor, table: Tensor, offset: Tensor) -> Tensor:
    chunks = rows.split(max(1, CELLS // table.shape[0]))
    return torch.cat([torch.addmm(offset, chunk, table.t(), alpha=-1).min(1).indices for chunk in chunks])


@torch.library.custom_op("codec::least", mutates_args=())
def _least_node(rows: Tensor, table: Tensor, offset: Tensor) -> Tensor:
    return _least_now(rows, table, offset)


@_least_node.register_fake
def _(rows: Tensor, table: Tensor, offset: Tensor) -> Tensor:
    return rows.new_empty(rows.shape[0], dtype=torch.int64)
