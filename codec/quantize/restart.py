"""Dead-code restart that covers the data: replacements are drawn one after another in proportion to D^2."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from codec.core import dist
from codec.quantize.lookup import nearest, squared_distance
from codec.quantize.pool import Coverage, draw_pool

POOL = 4096  # vectors that replacements are drawn from


@dataclass(frozen=True)
class Replacements:
    """`codes` `[R]` to replace, by `vectors` `[R, D]`, where `taken` `[R]` says so."""

    codes: Tensor
    vectors: Tensor
    taken: Tensor


def dead_codes(counts: Tensor, cooldown: Tensor, below: float) -> Tensor:
    """`[K]` bool: moving-average `counts` `[K]` under `below` times the uniform count, and `cooldown` `[K]` over."""
    return (counts < below * counts.mean()) & (cooldown == 0)


@torch.no_grad()
def replacements(
    rows: Tensor, valid: Tensor | None, codebook: Tensor, dead: Tensor, *, limit: int, most: int
) -> Replacements:
    """Vectors for up to `limit` of the `dead` `[K]` codes of `codebook` `[K, D]`, from the batch over all ranks.

    Each is drawn in proportion to the squared distance D^2 to the nearest code that stays, those just drawn included
    (as k-means++ does, Arthur and Vassilvitskii 2007): uniform draws would crowd the big clusters. Where no vector is
    left that is not a code already, nothing is replaced.

    Shapes are fixed by `limit` alone, so that it runs on fake tensors and in a compiled graph; every rank must call it.

    Args:
        rows: `[N, D]` float32, finite; `valid` `[N]` bool marks the real ones, None if all are.
        most: the largest `limit` ever asked for: fixes how many random numbers are drawn (from the device's global
            generator, as rank 0 has it), so that a smaller limit draws the same ones.
    """
    random = dist.broadcast(torch.rand(POOL + most * Coverage.CANDIDATES, device=rows.device))
    pool, total = draw_pool(rows, valid, random[:POOL])
    draws = random[POOL:].view(most, -1)
    codes = torch.argsort(dead.to(torch.uint8), descending=True, stable=True)[:limit]
    wanted = dead[codes]
    leaving = torch.zeros_like(dead).index_put_((codes,), wanted)
    distances = squared_distance(pool, codebook[nearest(pool, codebook, excluded=leaving)])
    coverage = Coverage(pool, torch.where(total > 0, distances, 0))
    found = [coverage.take(draws[number], wanted[number]) for number in range(limit)]
    vectors, taken = zip(*found, strict=True)
    return Replacements(codes, torch.stack(vectors), torch.stack(taken))
