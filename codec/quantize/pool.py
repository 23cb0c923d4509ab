"""A fair sample of all ranks' vectors, and the search in it for vectors that a codebook lacks."""

from __future__ import annotations

import torch
from torch import Tensor

from codec.core import dist


@torch.no_grad()
def draw_pool(rows: Tensor, valid: Tensor | None, jitter: Tensor) -> tuple[Tensor, Tensor]:
    """Draw as many of the real vectors of all ranks as `jitter` `[P]` has entries, evenly over the joined batch.

    The joined batch (rank after rank, padding left out) is cut into P equal strata, and `jitter` in [0, 1) picks
    from each. With fewer than P vectors every one of them is drawn. The result does not depend on how the joined batch
    is split over ranks; every rank must call, with the same `jitter`. Shapes are fixed, values are never looked at.

    Args:
        rows: `[N, D]` float32, finite.
        valid: `[N]` bool, the real ones; None if all are.

    Returns:
        The pool `[P, D]` (zeros if there was nothing to draw), and the number of vectors drawn from (0-d, int64).
    """
    count, device = jitter.shape[0], rows.device
    ends = torch.arange(1, rows.shape[0] + 1, device=device) if valid is None else valid.long().cumsum(0)
    own = ends[-1] if rows.shape[0] else torch.zeros((), dtype=torch.int64, device=device)
    sizes = torch.zeros(dist.world_size(), dtype=torch.int64, device=device)
    sizes[dist.rank()] = own
    sizes = dist.all_reduce_sum(sizes)
    total, start = sizes.sum(), sizes[: dist.rank()].sum()

    strata = torch.arange(count + 1, device=device) * total // count
    width = strata.diff().clamp_min(1)
    position = strata[:-1] + torch.minimum((jitter * width).long(), width - 1)
    local = position - start
    mine = (local >= 0) & (local < own)
    if rows.shape[0]:
        index = torch.searchsorted(ends, local.clamp_min(0) + 1).clamp_max(rows.shape[0] - 1)
        picked = torch.where(mine[:, None], rows[index], 0)
    else:
        picked = rows.new_zeros(count, rows.shape[1])
    return dist.all_reduce_sum(picked), total


class CentredPool:
    """Exact squared distances within a pool of vectors, and draws in proportion to them.

    Distances come from a float64 product of centred vectors, so that equal vectors are told from close ones.
    """

    EQUAL = 1e-13  # squared distances below this share of the vectors' squared lengths are rounding errors

    def __init__(self, pool: Tensor) -> None:
        exact = pool.double()
        centred = exact - exact.mean(0)
        lengths = centred.square().sum(1, keepdim=True) * (1 - self.EQUAL)
        one = torch.ones_like(lengths)
        self._left = torch.cat((-2 * centred, lengths, one), 1)  # left.right is |x|^2 + |y|^2 - 2 x.y
        self._right = torch.cat((centred, one, lengths), 1).t()

    def squared_distances(self, index: Tensor) -> Tensor:
        """Float64 `[I, P]` from the vectors `index` `[I]` to all of the pool; 0 between equal vectors."""
        return (self._left[index] @ self._right).clamp_min_(0)

    def draw(self, weights: Tensor, draws: Tensor) -> Tensor:
        """Vectors `[I]` drawn in proportion to `weights` `[P]` by `draws` `[I]`, uniform in [0, 1)."""
        heights = weights.cumsum(0)
        return torch.searchsorted(heights, draws.double() * heights[-1], right=True).clamp_max(len(heights) - 1)


class Coverage:
    """How well a growing set of centres covers a pool of vectors, and which vector would help it most.

    One step of greedy k-means++ (Arthur and Vassilvitskii 2007, section 5): `CANDIDATES` vectors are drawn in
    proportion to the squared distance D^2 to the nearest centre, and the one that lowers the sum of D^2 most is taken.
    """

    CANDIDATES = 4

    def __init__(self, pool: Tensor, distances: Tensor) -> None:
        """Cover `pool` `[P, D]`; `distances` `[P]` are squared, to the nearest centre."""
        self._pool = pool
        self._centred = CentredPool(pool)
        self._distances = distances.double()

    def take(self, draws: Tensor) -> tuple[Tensor, Tensor]:
        """The best next centre `[D]`, and whether (0-d bool) it is one: not if every vector is a centre already.

        Args:
            draws: `[CANDIDATES]`, uniform in [0, 1).
        """
        left = self._distances.sum() > 0
        index = self._centred.draw(self._distances, draws)
        after = torch.minimum(self._centred.squared_distances(index), self._distances)
        best = after.sum(1).argmin()[None]  # a tensor of one index: looked up without a look at it
        self._distances = torch.where(left, after.index_select(0, best)[0], self._distances)
        return self._pool.index_select(0, index.index_select(0, best))[0], left
