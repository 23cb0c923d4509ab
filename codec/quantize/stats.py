"""What a batch did to a codebook: counts, sums and errors, over all ranks and over real positions only."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from codec.core import dist


@dataclass(frozen=True)
class BatchSums:
    """Float32 sums over the real positions of a batch.

    Attributes:
        total: 0-d, real positions.
        counts: `[K]`, positions per code.
        squared_error: 0-d, |x - c|^2 summed over positions and channels; not finite if any latent is not.
        pulls: `[K, D]`, x - c summed per code; None if not asked for.
    """

    total: Tensor
    counts: Tensor
    squared_error: Tensor
    pulls: Tensor | None


@torch.no_grad()
def batch_sums(
    rows: Tensor,
    codes: Tensor,
    vectors: Tensor,
    valid: Tensor | None,
    *,
    size: int,
    with_pulls: bool,
    joint: bool,
) -> BatchSums:
    """Sums over `rows` `[N, D]` with their `codes` `[N]` and `vectors` `[N, D]` over a codebook of `size` entries.

    Args:
        valid: `[N]` bool, the real positions; None if all are. Rows that are not real must be finite.
        with_pulls: also sum x - c per code.
        joint: over all ranks (one collective, every rank must call), else this rank's own.
    """
    if valid is not None:
        codes = codes.masked_fill(~valid, size)
    pulls = rows - vectors
    errors = pulls.square().sum(-1)
    if valid is not None:
        errors = torch.where(valid, errors, 0)
    counts = errors.new_zeros(size + 1).index_add_(0, codes, torch.ones_like(errors))[:size]
    parts = [counts, errors.sum()[None]]
    if with_pulls:
        parts.append(rows.new_zeros(size + 1, rows.shape[1]).index_add_(0, codes, pulls)[:size].reshape(-1))
    packed = torch.cat(parts)
    if joint:
        packed = dist.all_reduce_sum(packed)
    counts = packed[:size]
    joint_pulls = packed[size + 1 :].view(size, -1) if with_pulls else None
    return BatchSums(counts.sum(), counts, packed[size], joint_pulls)


def usage(counts: Tensor) -> Tensor:
    """Share (0-d) of the codes of `counts` `[K]` that were seen."""
    return (counts > 0).float().mean()


def perplexity(counts: Tensor) -> Tensor:
    """exp(entropy) (0-d) of `counts` `[K]`: the number of equally likely codes that would be as diverse; 1 if empty."""
    share = counts / counts.sum().clamp_min(torch.finfo(counts.dtype).tiny)
    return torch.special.entr(share).sum().exp()


def running_usage(counts: Tensor, decay: float) -> Tensor:
    """Share (0-d) of codes seen within about the last `1 / (1 - decay)` steps, by their moving-average `counts` `[K]`.

    One sighting adds `1 - decay` and fades by `decay` a step; after that window it is worth `(1 - decay) / e`.
    """
    return (counts >= (1 - decay) * decay ** (1 / (1 - decay))).float().mean() if decay > 0 else usage(counts)


def integer_counts(counts: Tensor, *, resolution: int = 1 << 20) -> Tensor:
    """Moving-average `counts` `[K]` as integers of about `resolution` in sum, each at least 1; uniform if all are 0.

    Computed in float64 from elementwise products and a single division, so the same state gives the same integers.
    """
    exact = counts.detach().to("cpu", torch.float64)
    total = exact.sum()
    if float(total) <= 0:
        exact, total = torch.ones_like(exact), torch.tensor(float(len(exact)), dtype=torch.float64)
    return (exact / total * resolution).round().long().clamp_min(1).to(counts.device)
