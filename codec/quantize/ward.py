"""Few clusters out of many, merged two by two."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


@torch.no_grad()
def merged(centres: Tensor, counts: Tensor, size: int) -> Tensor:
    """`size` centres `[size, d]` of clusters with `centres` `[n, d]` and `counts` `[n]` of vectors, merged.

    Each time those two become one by which the sum of squared distances of vectors to their centre grows least, which
    is m k / (m + k) |a - b|^2 (Ward 1963); of equals the first. Takes memory for n x n float64 numbers three times,
    and n^3 steps at most. Runs on the CPU.

    Args:
        counts: positive.
        size: n at most.
    """
    means, weights = centres.cpu().double().numpy().copy(), counts.cpu().double().numpy().copy()
    squares = (means**2).sum(axis=1)
    growth = np.maximum(squares[:, None] + squares - 2 * means @ means.T, 0)
    growth *= weights[:, None] * weights / (weights[:, None] + weights)
    np.fill_diagonal(growth, np.inf)
    left = np.ones(len(means), dtype=bool)
    for _ in range(len(means) - size):
        kept, gone = divmod(int(growth.argmin()), len(means))
        both = weights[kept] + weights[gone]
        means[kept] = (weights[kept] * means[kept] + weights[gone] * means[gone]) / both
        weights[kept], left[gone] = both, False
        growth[gone], growth[:, gone] = np.inf, np.inf
        grown = ((means - means[kept]) ** 2).sum(axis=1) * weights * both / (weights + both)
        grown[~left], grown[kept] = np.inf, np.inf
        growth[kept], growth[:, kept] = grown, grown
    return torch.from_numpy(means[left]).to(centres)
