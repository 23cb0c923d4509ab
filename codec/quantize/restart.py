"""Dead-code restart that covers the data: replacements are drawn one after another in proportion to D^2."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from codec.core import dist
from codec.quantize.base import can_branch
from codec.quantize.lookup import nearest, squared_distance
from codec.quantize.pool import Coverage, draw_pool

POOL = 2048  # vectors that replacements are drawn from


@dataclass(frozen=True)
class Threshold:
    """When a code is dead: its running count is `below` this share of uniform usage, outside its `cooldown`, in steps.

    At most `limit` codes are replaced in a step.
    """

    below: float
    cooldown: int
    limit: int


@dataclass(frozen=True)
class CodebookState:
    """What a restart changes in place: `codebook` `[K, D]`, `counts` `[K]` float32, `cooldown` `[K]` int64."""

    codebook: Tensor
    counts: Tensor
    cooldown: Tensor


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
def replacements(rows: Tensor, valid: Tensor | None, entries: Tensor, dead: Tensor, *, limit: int) -> Replacements:
    """Vectors for the first `limit` of the `dead` `[K]` entries `[K, D]`, from the batch over all ranks.

    Each is drawn in proportion to the squared distance D^2 to the nearest entry that stays, those just drawn included
    (as k-means++ does, Arthur and Vassilvitskii 2007): uniform draws would crowd the big clusters. Where no vector is
    left that is not an entry already, nothing is replaced. Every rank must call it.

    Args:
        rows: `[N, D]` float32, finite; `valid` `[N]` bool marks the real ones, None if all are.
    """
    codes = dead.nonzero()[:limit, 0]
    random = dist.broadcast(torch.rand(POOL + len(codes) * Coverage.CANDIDATES, device=rows.device))
    pool, _ = draw_pool(rows, valid, random[:POOL])
    leaving = torch.zeros_like(dead).index_fill_(0, codes, True)
    coverage = Coverage(pool, squared_distance(pool, entries[nearest(pool, entries, excluded=leaving)]))
    found = [coverage.take(draws) for draws in random[POOL:].view(len(codes), -1)]
    vectors, taken = zip(*found, strict=True)
    return Replacements(codes, dist.broadcast(torch.stack(vectors)), dist.broadcast(torch.stack(taken)))


@torch.no_grad()
def restart(
    state: CodebookState, rows: Tensor, valid: Tensor | None, *, entries: Tensor, dead: Tensor, threshold: Threshold
) -> Tensor:
    """Replace `dead` `[K]` codes by vectors of the batch; how many (0-d float32).

    A code that starts again gets the running count of the threshold, so that neither does its next update undo the
    restart nor is it dead at once, and may not restart during the cool-down. Every rank must call it. Where values
    cannot be looked at (fake tensors, compiled graphs) it is one opaque operation.

    Args:
        rows: `[N, D]` float32, finite; `valid` `[N]` the real ones, None if all are.
        entries: `[K, D]` float32, what codes stand for.
    """
    operation = _restart if can_branch(rows) else torch.ops.codec.restart
    limits = (threshold.below, threshold.cooldown, threshold.limit)
    return operation(rows, valid, entries, dead, *limits, state.codebook, state.counts, state.cooldown)


def _restart(
    rows: Tensor,
    valid: Tensor | None,
    entries: Tensor,
    dead: Tensor,
    below: float,
    rest: int,
    limit: int,
    codebook: Tensor,
    counts: Tensor,
    cooldown: Tensor,
) -> Tensor:
    if not bool(dead.any()):
        return counts.new_zeros(())
    start = below * counts.mean()
    found = replacements(rows, valid, entries, dead, limit=limit)
    codes, vectors = found.codes[found.taken], found.vectors[found.taken]
    codebook.index_copy_(0, codes, vectors.to(codebook.dtype))
    counts.index_copy_(0, codes, start.expand(len(codes)))
    cooldown.index_fill_(0, codes, rest)
    return found.taken.sum().to(counts.dtype)


_operation = torch.library.custom_op(
    "codec::restart",
    _restart,
    mutates_args=("codebook", "counts", "cooldown"),
    schema="(Tensor rows, Tensor? valid, Tensor entries, Tensor dead, float below, int rest, int limit, "
    "Tensor(a!) codebook, Tensor(b!) counts, Tensor(c!) cooldown) -> Tensor",
)


@_operation.register_fake
def _(rows: Tensor, *_: object) -> Tensor:
    return rows.new_zeros(())
