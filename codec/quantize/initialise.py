"""The first training batch with a real position fills a codebook, alike on all ranks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from codec.core import dist
from codec.core.errors import UserError
from codec.quantize.base import can_branch, raise_unless_finite
from codec.quantize.kmeans import cluster

RIDGE = 1e-6  # of the mean moment, added so that latents without any variance in a direction have a root, too


@torch.no_grad()
def initialise(
    rows: Tensor, valid: Tensor | None, codebook: Tensor, counts: Tensor, initialised: Tensor, method: str
) -> None:
    """Fill `codebook` `[K, D]` and `counts` `[K]` in place unless `initialised` (0-d bool), which is then set.

    Every rank must call it. A batch without a real position on any rank leaves all as it is. Where values cannot be
    looked at (fake tensors, compiled graphs) it is one opaque operation.

    Args:
        rows: `[N, D]` float32; `valid` `[N]` the real ones, None if all are.
        method: `kmeans`; `normal`: the random codebook that rank 0 has; or `moments`, for a map W `[D, D]` in the place
            of a codebook: W Wᵀ is the mean of x xᵀ over real rows.

    Raises:
        NonFiniteError: a real row of any rank holds NaN or infinity.
        UserError: the codebook is filled on some ranks only.
    """
    operation = _initialise if can_branch(rows) else torch.ops.codec.initialise
    operation(rows, valid, codebook, counts, initialised, method)


def _initialise(
    rows: Tensor, valid: Tensor | None, codebook: Tensor, counts: Tensor, initialised: Tensor, method: str
) -> None:
    real = torch.full_like(initialised, len(rows), dtype=torch.float32) if valid is None else valid.sum().float()
    squares = torch.zeros_like(real) if bool(initialised) else rows.square().sum()
    facts = torch.stack((initialised.float(), squares, real))
    filled, squares, total = dist.all_reduce_sum(facts).tolist()
    if filled == dist.world_size():
        return
    if filled:
        raise UserError(f"{filled:.0f} of {dist.world_size()} ranks have a filled codebook: load the same state on all")
    raise_unless_finite(torch.tensor(math.isfinite(squares)))
    if total == 0:
        return
    if method == "kmeans":
        found = cluster(rows, valid, len(codebook))
        codebook.copy_(found.centres)
        counts.copy_(found.counts)
    elif method == "moments":
        codebook.copy_(_moments_root(rows if valid is None else torch.where(valid[:, None], rows, 0), total))
    else:
        codebook.copy_(dist.broadcast(codebook))
    initialised.fill_(True)


def _moments_root(rows: Tensor, total: float) -> Tensor:
    """Lower triangular root `[D, D]` of the mean of x xᵀ over the `total` real rows of all ranks, others zero."""
    moments = dist.all_reduce_sum((rows.t() @ rows).double()) / total
    floor = RIDGE * moments.diagonal().mean() + torch.finfo(torch.float32).tiny
    return dist.broadcast(torch.linalg.cholesky(moments + floor * torch.eye(len(moments), device=rows.device)).float())


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
