"""The first training batch with a real position fills a codebook, alike on all ranks."""

from __future__ import annotations

import torch
from torch import Tensor

from codec.core import dist
from codec.quantize.base import can_branch, raise_unless_finite
from codec.quantize.kmeans import cluster


@torch.no_grad()
def initialise(
    rows: Tensor, valid: Tensor | None, codebook: Tensor, counts: Tensor, initialised: Tensor, method: str
) -> None:
    """Fill `codebook` `[K, D]` and `counts` `[K]` in place unless `initialised` (0-d bool), which is then set.

    Every rank must call it. A batch without a real position on any rank leaves all as it is. Where values cannot be
    looked at (fake tensors, compiled graphs) it is one opaque operation.

    Args:
        rows: `[N, D]` float32; `valid` `[N]` the real ones, None if all are.
        method: `kmeans`, or `normal`: the random codebook that rank 0 has.

    Raises:
        NonFiniteError: a real row of any rank holds NaN or infinity.
    """
    operation = _initialise if can_branch(rows) else torch.ops.codec.initialise
    operation(rows, valid, codebook, counts, initialised, method)


def _initialise(
    rows: Tensor, valid: Tensor | None, codebook: Tensor, counts: Tensor, initialised: Tensor, method: str
) -> None:
    if bool(initialised):
        return
    raise_unless_finite(torch.isfinite(dist.all_reduce_sum(rows.square().sum())))
    real = torch.tensor(len(rows), device=rows.device) if valid is None else valid.sum()
    if int(dist.all_reduce_sum(real)) == 0:
        return
    if method == "kmeans":
        found = cluster(rows, valid, len(codebook))
        codebook.copy_(found.centres)
        counts.copy_(found.counts)
    else:
        codebook.copy_(dist.broadcast(codebook))
    initialised.fill_(True)


_operation = torch.library.custom_op(
    "codec::initialise",
    _initialise,
    mutates_args=("codebook", "counts", "initialised"),
    schema="(Tensor rows, Tensor? valid, Tensor(a!) codebook, Tensor(b!) counts, Tensor(c!) initialised, "
    "str method) -> ()",
)


@_operation.register_fake
def _(*_: object) -> None:
    return None
