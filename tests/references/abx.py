"""The ABX error triple by triple, with plain recursions and exact fractions (Schatz et al. 2013)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from itertools import groupby
from typing import Any

GRID = 1 << 24  # distances of frames are whole numbers of its parts
FLOOR = 2.0**-52


def angle(one: Sequence[float], other: Sequence[float]) -> float:
    """The angle over pi by Kahan's formula, which is exact for small angles; of silence to silence 0, else 1/2."""
    lengths = math.hypot(*one), math.hypot(*other)
    if 0 in lengths:
        return 0.0 if lengths == (0, 0) else 0.5
    u, v = ([x / length for x in frame] for frame, length in zip((one, other), lengths, strict=True))
    difference = math.hypot(*(x - y for x, y in zip(u, v, strict=True)))
    return 2 * math.atan2(difference, math.hypot(*(x + y for x, y in zip(u, v, strict=True)))) / math.pi


def divergence(one: Sequence[float], other: Sequence[float]) -> float:
    """Half of KL(p, q) + KL(q, p), zeros being raised to the floor."""
    p, q = _floored(one), _floored(other)
    forth = sum(x * math.log(x / y) for x, y in zip(p, q, strict=True))
    back = sum(y * math.log(y / x) for x, y in zip(p, q, strict=True))
    return (forth + back) / 2


def warped(frame_distance: Callable[..., float], one: Sequence[Any], other: Sequence[Any]) -> Fraction:
    """Mean cost along the cheapest path; of equally cheap steps the diagonal, else the one to the shorter path."""

    @cache
    def best(i: int, j: int) -> tuple[Fraction, int]:
        cost = Fraction(round(frame_distance(one[i], other[j]) * GRID), GRID)
        before = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
        reached = [(best(*place), place != (i - 1, j - 1)) for place in before if min(place) >= 0]
        if not reached:
            return cost, 1
        (total, length), _ = min(reached, key=lambda path: (path[0][0], path[1], path[0][1]))
        return total + cost, length + 1

    total, length = best(len(one) - 1, len(other) - 1)
    return total / length


def edits(one: Sequence[int], other: Sequence[int]) -> Fraction:
    """Levenshtein's distance of the symbols without repetitions, over the longer length."""
    ours, theirs = ([symbol for symbol, _ in groupby(symbols)] for symbols in (one, other))

    @cache
    def fewest(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        changed = fewest(i - 1, j - 1) + (ours[i - 1] != theirs[j - 1])
        return min(changed, fewest(i - 1, j) + 1, fewest(i, j - 1) + 1)

    return Fraction(fewest(len(ours), len(theirs)), max(len(ours), len(theirs)))


DISTANCES: dict[str, Callable[[Sequence[Any], Sequence[Any]], Fraction]] = {
    "angular": lambda one, other: warped(angle, one, other),
    "kl": lambda one, other: warped(divergence, one, other),
    "edit": edits,
}


def abx(tokens: Sequence[tuple[Any, Sequence[Any]]], *, mode: str, distance: str) -> dict[tuple[str, str], Fraction]:
    """The error for each pair of phones, of tokens which are an item and its frames."""
    between = cache(lambda i, j: DISTANCES[distance](tokens[i][1], tokens[j][1]))
    cells = defaultdict(list)
    for i, (a, _) in enumerate(tokens):
        for j, (b, _) in enumerate(tokens):
            for k, (x, _) in enumerate(tokens):
                alike = len({(t.previous, t.following) for t in (a, b, x)}) == 1 and a.speaker == b.speaker
                speakers = (x.speaker == a.speaker) == (mode == "within")
                if i != k and alike and speakers and a.phone == x.phone != b.phone:
                    near, far = between(i, k), between(j, k)
                    error = Fraction(1, 2) if near == far else Fraction(near > far)
                    cells[a.phone, b.phone, a.speaker, a.previous, a.following, x.speaker].append(error)
    speakers_of_pairs = _means(_means(cells, 3), 2)
    return {pair: sum(errors, Fraction()) / len(errors) for pair, errors in speakers_of_pairs.items()}


def _means(lists: Any, kept: int) -> dict[Any, list[Fraction]]:
    """The means of lists, gathered by the first so many parts of their keys."""
    gathered = defaultdict(list)
    for key, numbers in lists.items():
        gathered[key[:kept]].append(sum(numbers, Fraction()) / len(numbers))
    return gathered


def _floored(frame: Sequence[float]) -> list[float]:
    total = sum(frame) or 1.0
    raised = [x / total + FLOOR for x in frame]
    return [x / sum(raised) for x in raised]
