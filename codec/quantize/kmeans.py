"""k-means++ seeding and Lloyd's steps (Arthur and Vassilvitskii 2007): a codebook that covers the data at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from codec.core import dist
from codec.quantize.lookup import nearest
from codec.quantize.pool import Coverage, draw_pool

LLOYD_STEPS = 8
SPREAD = 1e-2  # size of the noise that tells apart codes beyond the number of distinct vectors, in standard deviations


@dataclass(frozen=True)
class Clusters:
    """A first codebook: `centres` `[K, D]`, the vectors' share in each `counts` `[K]`, and the number seen (0-d)."""

    centres: Tensor
    counts: Tensor
    total: Tensor


@torch.no_grad()
def cluster(rows: Tensor, valid: Tensor | None, size: int) -> Clusters:
    """`size` centres of the real ones of `rows` `[N, D]` over all ranks, the same bits on each; every rank must call.

    Works on a sample of at most `pool_size(size)` vectors. With fewer distinct vectors than centres each vector is a
    centre, and the rest are vectors plus a little noise, all distinct, with a count of 0. `counts` sum to `total`.
    Randomness comes from the device's global generator, as rank 0 has it.
    """
    sample, picks = pool_size(size), size * Coverage.CANDIDATES
    random = dist.broadcast(torch.rand(sample + picks, device=rows.device))
    jitter, draws = random[:sample], random[sample:].view(size, -1)
    noise = dist.broadcast(torch.randn(size, rows.shape[1], device=rows.device))
    pool, total = draw_pool(rows, valid, jitter)
    centres, exhausted = _seed(pool, draws)
    counts = pool.new_zeros(size)
    for _ in range(LLOYD_STEPS):
        codes = nearest(pool, centres, excluded=exhausted)
        counts = torch.zeros_like(counts).index_add_(0, codes, torch.ones_like(pool[:, 0]))
        pulls = torch.zeros_like(centres).index_add_(0, codes, pool - centres[codes])
        centres = centres + pulls / counts.clamp_min(1)[:, None]
    scale = SPREAD * pool.std(0).mean() + 1e-5 * pool.abs().mean() + 1e-6
    centres = torch.where(exhausted[:, None], centres + scale * noise, centres)
    return Clusters(centres, counts * (total / pool.shape[0]), total)


def pool_size(size: int) -> int:
    """Vectors that `size` centres are found from."""
    return max(2048, size, min(4 * size, 1 << 15))


def _seed(pool: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    """Greedy k-means++ centres `[K, D]` by `draws` `[K, CANDIDATES]`, and which `[K]` found no new vector left."""
    coverage = Coverage(pool)
    centres, new = zip(*(coverage.take(draw) for draw in draws.unbind()), strict=True)
    return torch.stack(centres), ~torch.stack(new)
