"""Which triples of a context ABX asks about, and how many of them come out wrong.

A cell is all triples whose A are one group of items, B another, and X a third (within speakers: that of A). A group is
the items of a speaker and a phone in the context.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codec.entropy.compiled import compiled
from codec.eval.abx_distance import Distance, pair_distances
from codec.eval.item_file import AbxItem

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Group:
    """Items of a context that stand side by side, from `start` until before `stop`."""

    speaker: str
    phone: str
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Cells:
    """The cells of one context.

    Attributes:
        groups: of the context.
        members: `[cells, 3]`, the places in `groups` of A, B and X.
    """

    groups: Sequence[Group]
    members: Integers

    def pairs(self) -> Integers:
        """The pairs of items `[pairs, 2]`, the first before the second, whose distances the triples need."""
        size = self.groups[-1].stop
        wanted = np.zeros((size, size), dtype=bool)
        for one, other in {(x, group) for a, b, x in self.members.tolist() for group in (a, b)}:
            ours, theirs = self.groups[one], self.groups[other]
            wanted[ours.start : ours.stop, theirs.start : theirs.stop] = True
        return np.argwhere(np.triu(wanted | wanted.T, 1))


@dataclass(frozen=True)
class CellErrors:
    """What came out of the cells: `error` and number of `triples` of each, `[cells]`."""

    cells: Cells
    error: npt.NDArray[np.float64]
    triples: Integers


def plan(items: Sequence[AbxItem], *, across: bool) -> Cells:
    """The cells of a context whose items are in order of speaker and phone.

    Within speakers, A and X are two items of one group; across, X is of another speaker than A and B.
    """
    groups = _groups(items)
    by_speaker, by_phone = defaultdict(list), defaultdict(list)
    for place, group in enumerate(groups):
        by_speaker[group.speaker].append(place)
        by_phone[group.phone].append(place)
    members = [
        (a, b, x)
        for places in by_phone.values()
        for a in places
        for x in (places if across else [a] * (groups[a].size > 1))
        if not across or groups[x].speaker != groups[a].speaker
        for b in by_speaker[groups[a].speaker]
        if b != a
    ]
    return Cells(groups, np.array(members, dtype=np.int64).reshape(-1, 3))


def cell_errors(cells: Cells, items: Sequence[npt.NDArray], distance: Distance) -> CellErrors:
    """The mean error of the triples of each cell: 1 if d(A, X) > d(B, X), 0.5 if they are equal.

    Memory: one distance for each pair of items of the context.

    Args:
        items: the frames of each.
    """
    pairs = cells.pairs()
    table = np.zeros((len(items), len(items)))
    table[pairs[:, 0], pairs[:, 1]] = table[pairs[:, 1], pairs[:, 0]] = pair_distances(distance, items, pairs)
    spans = np.array([(group.start, group.stop) for group in cells.groups], dtype=np.int64)
    a, b, x = (spans[column, 1] - spans[column, 0] for column in cells.members.T)
    triples = np.where(cells.members[:, 0] == cells.members[:, 2], a - 1, a) * b * x
    return CellErrors(cells, _wrong(table, spans, cells.members) / triples, triples)


@compiled
def _wrong(table, spans, members):
    """The sum of the errors of the triples of each cell."""
    found = np.zeros(len(members))
    for cell in range(len(members)):
        first, second, third = members[cell]
        for x in range(spans[third, 0], spans[third, 1]):
            for a in range(spans[first, 0], spans[first, 1]):
                if a != x:
                    for b in range(spans[second, 0], spans[second, 1]):
                        found[cell] += 0.5 * (table[x, a] >= table[x, b]) + 0.5 * (table[x, a] > table[x, b])
    return found


def _groups(items: Sequence[AbxItem]) -> list[Group]:
    names = [(item.speaker, item.phone) for item in items]
    starts = [place for place in range(len(names)) if place == 0 or names[place] != names[place - 1]]
    stops = [*starts[1:], len(names)]
    return [Group(*names[start], start, stop) for start, stop in zip(starts, stops, strict=True)]
