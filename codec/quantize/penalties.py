"""Losses of a codebook: how far vectors are from their codes, how alike entries are, how evenly codes are shared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.core import dist
from codec.quantize.chunks import chunk_sums
from codec.quantize.rows import Assignment


def commitment(assignment: Assignment) -> Tensor:
    """Mean (0-d) of (z_e - sg(e))^2 over real positions and channels (van den Oord et al. 2017, eq. 3, last)."""
    return _mean_distance(assignment, assignment.anchors, assignment.vectors.detach())


def codebook_error(assignment: Assignment) -> Tensor:
    """Mean (0-d) of (sg(z_e) - e)^2 over real positions and channels: the same equation's second term."""
    return _mean_distance(assignment, assignment.anchors.detach(), assignment.vectors)


def mean_over_real(values: Tensor, assignment: Assignment) -> Tensor:
    """Mean (0-d) of `values` `[N]` or `[N, D]` over real rows and channels.

    The denominator is the mean number of real rows per rank (when training), so that gradients averaged over ranks are
    those of the joined batch.
    """
    if assignment.valid is not None:
        keep = assignment.valid if values.dim() == 1 else assignment.valid[:, None]
        values = torch.where(keep, values, 0)
    return values.sum() / _rows_per_rank(assignment) / (values[0].numel() if len(values) else 1)


def orthogonality(entries: Tensor) -> Tensor:
    """|Ê Êᵀ - I|_F^2 / K^2 (0-d) of `entries` `[K, D]` scaled to length 1: 0 if all are orthogonal (Shin et al. 2021).

    The squared norms of Ê Êᵀ and Êᵀ Ê agree and the diagonal is one, so it is (|Êᵀ Ê|_F^2 - K) / K^2: no K x K matrix.
    """
    unit = F.normalize(entries, dim=1)
    size = len(unit)
    return ((unit.t() @ unit).square().sum() - size) / size**2


def entropies(
    rows: Tensor, table: Tensor, bias: Tensor | None, assignment: Assignment, *, temperature: float
) -> dict[str, Tensor]:
    """Losses `entropy` and `diversity` of the soft assignment p(k | x) = softmax_k((x.t_k + b_k) / temperature).

    `entropy` is the mean over real positions of H(p(. | x)) in nats: low if each is sure of its code. `diversity` is
    log K - H(mean of p over real positions of all ranks), at least 0: low if the codes are shared evenly (Chang et al.
    2022; Yu et al. 2024, section 3.1). N x K probabilities are computed chunk by chunk, and again backward.

    Args:
        rows: `[N, D]`, `table` `[K, D]`, `bias` `[K]` (0 if None), differentiable.
    """
    bias = table.new_zeros(len(table)) if bias is None else bias
    real = torch.ones_like(assignment.codes, dtype=torch.bool) if assignment.valid is None else assignment.valid
    shares, total_entropy = chunk_sums(_soft_sums, rows, real, table, bias, temperature)
    return {"entropy": total_entropy / _rows_per_rank(assignment), "diversity": diversity([shares], assignment)}


def diversity(shares: Sequence[Tensor], assignment: Assignment) -> Tensor:
    """Sum (0-d, nats) over independent parts of log K - H of the distribution that all ranks' rows make together.

    Args:
        shares: per part `[K]`, the probabilities summed over this rank's rows.
    """
    joint = torch.cat(list(shares))
    if assignment.joint:
        joint = dist.differentiable_sum(joint)
    missing = [_missing_entropy(part) for part in joint.split([len(part) for part in shares])]
    return torch.where(assignment.sums.total > 0, torch.stack(missing).sum(), 0)


def _missing_entropy(shares: Tensor) -> Tensor:
    tiny = torch.finfo(shares.dtype).tiny
    p = shares / shares.sum().clamp_min(tiny)
    # Not xlogy, whose gradient at 0 is not a number: a code without any probability wants more of it, in full.
    return math.log(len(p)) + (p * p.clamp_min(tiny).log()).sum()


def _mean_distance(assignment: Assignment, left: Tensor, right: Tensor) -> Tensor:
    total: Any = _SquaredDistance.apply(left, right, assignment.difference, assignment.error)
    return total / _rows_per_rank(assignment) / left.shape[1]


def _rows_per_rank(assignment: Assignment) -> Tensor:
    ranks = dist.world_size() if assignment.joint else 1
    return (assignment.sums.total / ranks).clamp_min(torch.finfo(torch.float32).eps)


def _soft_sums(rows: Tensor, real: Tensor, table: Tensor, bias: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Over real rows: the summed p(k | x) `[K]` and the summed entropy (0-d)."""
    log_p = (torch.addmm(bias, rows, table.t()) / temperature).log_softmax(1)
    p = torch.where(real[:, None], log_p.exp(), 0)
    return p.sum(0), -(p * log_p).sum()


class _SquaredDistance(torch.autograd.Function):
    """Sum of (left - right)^2 where the difference, and that sum, are known already. It has no second derivative."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, difference: Tensor, error: Tensor) -> Tensor:
        ctx.save_for_backward(difference)
        return error.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        if torch.is_grad_enabled():
            raise RuntimeError("the losses of a quantizer have no second derivative: leave out create_graph=True")
        (difference,) = ctx.saved_tensors
        pull = 2 * grads[0] * difference
        return pull if ctx.needs_input_grad[0] else None, -pull if ctx.needs_input_grad[1] else None, None, None
