"""k-means++ seeding and Lloyd's steps (Arthur and Vassilvitskii 2007): a codebook that covers the data at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from codec.core import dist
from codec.quantize.lookup import nearest
from codec.quantize.pool import CentredPool, draw_pool

LLOYD_STEPS = 8
CANDIDATES = 8  # draws of which the best becomes a seed
BLOCK = 128  # draws made at once
SPREAD = 1e-2  # size of the noise that tells apart codes beyond the number of distinct vectors, in standard deviations


@dataclass(frozen=True)
class Clusters:
    """A first codebook: `centres` `[K, D]`, and the vectors' share in each `counts` `[K]`."""

    centres: Tensor
    counts: Tensor


@torch.no_grad()
def cluster(rows: Tensor, valid: Tensor | None, size: int) -> Clusters:
    """`size` centres of the real ones of `rows` `[N, D]` over all ranks, the same bits on each; every rank must call.

    Works on a sample of at most `pool_size(size)` vectors. With fewer distinct vectors than centres each vector is a
    centre, and the rest are vectors plus a little noise, all distinct, with a count of 0. `counts` sum to the number of
    real rows. Randomness comes from the device's global generator, as rank 0 has it.
    """
    jitter = dist.broadcast(torch.rand(pool_size(size), device=rows.device))
    seed = dist.broadcast(torch.randint(1 << 62, (), device=rows.device))
    pool, total = draw_pool(rows, valid, jitter)
    generator = torch.Generator().manual_seed(int(seed))
    centres, exhausted = _seed(pool, size, generator)
    counts = pool.new_zeros(size)
    for _ in range(LLOYD_STEPS):
        codes = nearest(pool, centres, excluded=exhausted)
        counts = torch.zeros_like(counts).index_add_(0, codes, torch.ones_like(pool[:, 0]))
        pulls = torch.zeros_like(centres).index_add_(0, codes, pool - centres[codes])
        centres = centres + pulls / counts.clamp_min(1)[:, None]
    scale = SPREAD * pool.std(0).mean() + 1e-5 * pool.abs().mean() + 1e-6
    noise = torch.randn(centres.shape, generator=generator).to(rows.device)
    centres = torch.where(exhausted[:, None], centres + scale * noise, centres)
    return Clusters(dist.broadcast(centres), dist.broadcast(counts) * (total / pool.shape[0]))


def pool_size(size: int) -> int:
    """Vectors that `size` centres are found from."""
    return max(2048, size, min(4 * size, 1 << 14))


def _seed(pool: Tensor, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Greedy k-means++ centres `[K, D]` of `pool` `[P, D]`, and which `[K]` found no new vector left.

    Each is the best of some candidates drawn by their D^2 to the centres before. The draws are made in blocks: one that
    was drawn by the D^2 before its block is kept with probability D^2 now / D^2 then, which makes it a draw by D^2 now.
    So the result is that of drawing one by one, at the price of a few products of matrices. Runs on the CPU.
    """
    centred, count = CentredPool(pool.cpu()), len(pool)
    chosen = [int(torch.randint(count, (), generator=generator))]
    distances = centred.squared_distances(torch.tensor(chosen))[0]
    while len(chosen) < size and float(distances.sum()) > 0:
        block = min(BLOCK, CANDIDATES * len(chosen))
        coins = torch.rand(block, generator=generator, dtype=torch.float64)
        index = centred.draw(distances, torch.rand(block, generator=generator))
        needed, reach, positions = (coins * distances[index]).tolist(), centred.squared_distances(index), index.tolist()
        waiting: list[int] = []
        for candidate, position in enumerate(positions):
            if float(distances[position]) > needed[candidate]:
                waiting.append(candidate)
            if waiting and (len(waiting) == CANDIDATES or candidate == block - 1):
                after = torch.minimum(reach[waiting], distances)
                best = int(after.sum(1).argmin())
                chosen.append(positions[waiting[best]])
                distances, waiting = after[best], []
    chosen = torch.tensor(chosen[:size], device=pool.device)
    everyone = torch.arange(size, device=pool.device)
    return pool[chosen[everyone % len(chosen)]], everyone >= len(chosen)
