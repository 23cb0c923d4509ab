"""What a batch did to a codebook: counts, sums and errors, over all ranks and over real positions only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from codec.core import dist


@dataclass(frozen=True)
class BatchSums:
    """Float32 sums over the real positions of a batch.

    Attributes:
        total: 0-d, real positions.
        counts: `[C]`, positions per counter of the codebook (one per code, see `counting`).
        squared_error: 0-d, |x - c|^2 summed over positions and channels; not finite if any latent is not.
        pulls: `[K, D]`, x - c summed per code; None if not asked for.
    """

    total: Tensor
    counts: Tensor
    squared_error: Tensor
    pulls: Tensor | None


@torch.no_grad()
def joint_sums(own: BatchSums) -> BatchSums:
    """The sums of all ranks, from each rank's `own`: one collective, which every rank must call."""
    if not dist.is_distributed():
        return own
    parts = [own.total[None], own.squared_error[None], own.counts]
    if own.pulls is not None:
        parts.append(own.pulls.reshape(-1))
    packed = dist.all_reduce_sum(torch.cat(parts))
    size = len(own.counts)
    pulls = None if own.pulls is None else packed[2 + size :].view_as(own.pulls)
    return BatchSums(packed[0], packed[2 : 2 + size], packed[1], pulls)


def merged_sums(parts: Sequence[BatchSums]) -> BatchSums:
    """The sums of several lookups in one codebook together."""
    if len(parts) == 1:
        return parts[0]
    pulls = [part.pulls for part in parts if part.pulls is not None]
    return BatchSums(
        torch.stack([part.total for part in parts]).sum(),
        torch.stack([part.counts for part in parts]).sum(0),
        torch.stack([part.squared_error for part in parts]).sum(),
        torch.stack(pulls).sum(0) if pulls else None,
    )


def usage(counts: Tensor) -> Tensor:
    """Share (0-d) of the codes of `counts` `[K]` that were seen."""
    return (counts > 0).float().mean()


def perplexity(counts: Tensor, *, parts: int = 1) -> Tensor:
    """exp(entropy) (0-d) of `counts` `[K]`: the number of equally likely codes that would be as diverse; 1 if empty.

    Args:
        parts: how many counts of the same events stand one after another in `counts`; the entropies are added.
    """
    share = parts * counts / counts.sum().clamp_min(torch.finfo(counts.dtype).tiny)
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
