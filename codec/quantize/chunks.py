"""Differentiable work on N x K probabilities that never exist all at once: chunk by chunk, and again backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CELLS = 1 << 20  # of the matrix that exist at once, 4 MiB


def in_chunks(function: Callable[..., Tensor], rows: Tensor, table: Tensor, *args: Any, random: bool = False) -> Tensor:
    """`function(rows, table, *args)` `[N, D]`, for a function that treats each row of `[N, D]` by itself.

    Args:
        table: `[K, D]`; the function may hold N x K cells for the rows it is given.
        random: whether the function draws random numbers, which its second run must draw again.
    """
    chunks = rows.split(_chunk_rows(table))
    return torch.cat([_run(function, (chunk, table, *args), random) for chunk in chunks])


def chunk_sums(
    function: Callable[..., tuple[Tensor, Tensor]], rows: Tensor, real: Tensor, table: Tensor, *args: Any
) -> tuple[Tensor, Tensor]:
    """Both sums over the chunks of `function(rows, real, table, *args)`, for `rows` `[N, D]`, `real` `[N]`."""
    size = _chunk_rows(table)
    chunks = list(zip(rows.split(size), real.split(size), strict=True))
    parts = [_run(function, (chunk, mask, table, *args), False) for chunk, mask in chunks]
    return torch.stack([part[0] for part in parts]).sum(0), torch.stack([part[1] for part in parts]).sum(0)


def _chunk_rows(table: Tensor) -> int:
    return max(1, CELLS // len(table))


def _run(function: Callable[..., Any], args: tuple[Any, ...], random: bool) -> Any:
    return checkpoint(function, *args, use_reentrant=False, preserve_rng_state=random)
