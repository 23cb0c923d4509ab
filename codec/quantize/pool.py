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


class Coverage:
    """How well a growing set of centres covers a pool, and the next vector that would help it most.

    The step of greedy k-means++ (Arthur and Vassilvitskii 2007, section 5): `CANDIDATES` vectors are drawn in
    proportion to the squared distance D^2 to the nearest centre, and the one that lowers the sum of D^2 most is it.
    Distances come from a float64 product of centred vectors, so that equal vectors are told from close ones.
    """

    CANDIDATES = 4
    EQUAL = 1e-13  # squared distances below this share of the vectors' squared lengths are rounding error

    def __init__(self, pool: Tensor, distances: Tensor | None = None) -> None:
        """Cover `pool` `[P, D]`; `distances` `[P]` are the squared ones to the nearest centre so far."""
        self.vectors = pool
        self._centred = (pool.double() - pool.double().mean(0)).contiguous()
        self._lengths = self._centred.square().sum(1)
        self.distances = distances.double() if distances is not None else None

    def next(self, draws: Tensor, accept: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The next centre `[D]`, and whether (0-d bool) it is new: no centre yet, and `accept` (0-d) is not False.

        Only a new one counts as a centre from here on. `draws` `[CANDIDATES]` are uniform in [0, 1).
        """
        index = _weighted_picks(self._lengths.new_ones(()).expand_as(self._lengths), draws)
        if self.distances is not None:
            index = _weighted_picks(self.distances, draws)
        to_each = self._squared_distances(index)
        if self.distances is not None:
            to_each = torch.minimum(to_each, self.distances)
        best = to_each.sum(1).argmin()[None]
        lowered = to_each.index_select(0, best)[0]
        new = torch.ones_like(best[0], dtype=torch.bool) if accept is None else accept
        if self.distances is not None:
            new = new & (self.distances.sum() > 0)
            lowered = torch.where(new, lowered, self.distances)
        self.distances = lowered
        return self.vectors.index_select(0, index.index_select(0, best))[0], new

    def _squared_distances(self, index: Tensor) -> Tensor:
        chosen, lengths = self._centred[index], self._lengths[index][:, None]
        reach = lengths + self._lengths
        distances = torch.addmm(reach, chosen, self._centred.t(), alpha=-2)
        return torch.where(distances > self.EQUAL * reach, distances, 0)


def _weighted_picks(weights: Tensor, draws: Tensor) -> Tensor:
    """Indices `[R]`, each drawn in proportion to `weights` `[P]` >= 0; weight 0 never, unless all are 0."""
    heights = weights.cumsum(0)
    return torch.searchsorted(heights, draws.double() * heights[-1], right=True).clamp_max(
        weights.shape[0] - 1
    )
