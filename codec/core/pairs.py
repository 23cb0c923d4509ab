"""Byte-pair units: the commonest pair of neighbours becomes one token, again and again."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from itertools import pairwise

import numpy as np
from pydantic import Field, field_validator, model_validator

from codec.core.config import Config
from codec.core.errors import UserError

_GAP = -1  # no token: between sequences, so that no pair reaches across, and where one was merged away


class Pairs(Config):
    """Which neighbours become one token, in the order of learning; tokens below `num_units` are units themselves.

    Merge `i` makes token `num_units + i`. `model_dump_json` and `model_validate_json` write and read it.
    """

    num_units: int = Field(ge=1)
    merges: tuple[tuple[int, int], ...] = ()

    @field_validator("merges")
    @classmethod
    def _each_once(cls, merges: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        if len(set(merges)) < len(merges):
            raise ValueError("a pair is merged twice")
        return merges

    @model_validator(mode="after")
    def _each_from_tokens_before_it(self) -> Pairs:
        for number, pair in enumerate(self.merges, self.num_units):
            if not 0 <= min(pair) <= max(pair) < number:
                raise ValueError(f"token {number} is merged from {pair}, which are not all there before it")
        return self

    @property
    def num_tokens(self) -> int:
        """Units and merged tokens together."""
        return self.num_units + len(self.merges)

    def apply(self, units: np.ndarray) -> np.ndarray:
        """Tokens, int64 `[tokens]`, of `units` `[frames]`: every merge in turn, from left to right.

        Raises:
            UserError: a unit is none of `num_units`.
        """
        tokens = _checked(units, self.num_units, "units").tolist()
        numbers = {pair: number for number, pair in enumerate(self.merges, self.num_units)}
        after = [*range(1, len(tokens)), -1]  # the place of the next token that is still there; -1 after the last
        before = [*range(-1, len(tokens) - 1)]
        due = [(numbers.get(pair, -1), place) for place, pair in enumerate(pairwise(tokens))]
        due = [(number, place) for number, place in due if number >= 0]
        heapify(due)  # a merge only makes pairs that are merged later, so they can be put in as they come
        while due:
            number, place = heappop(due)
            other = after[place]
            if other < 0 or numbers.get((tokens[place], tokens[other])) != number:  # changed since it was put in
                continue
            tokens[place], tokens[other], after[place] = number, _GAP, after[other]
            if after[place] >= 0:
                before[after[place]] = place
            for left in (before[place], place):
                if left >= 0 and after[left] >= 0:
                    made = numbers.get((tokens[left], tokens[after[left]]))
                    if made is not None:
                        heappush(due, (made, left))
        return np.array([token for token in tokens if token != _GAP], dtype=np.int64)

    def undo(self, tokens: np.ndarray) -> np.ndarray:
        """The units, int64 `[frames]`, that `apply` made `tokens` of.

        Raises:
            UserError: a token is none of `num_tokens`.
        """
        tokens = _checked(tokens, self.num_tokens, "tokens")
        spelled = [np.array([unit]) for unit in range(self.num_units)]
        for left, right in self.merges:
            spelled.append(np.concatenate([spelled[left], spelled[right]]))
        return np.concatenate([np.empty(0, np.int64), *(spelled[token] for token in tokens)])


def learn_pairs(sequences: Sequence[np.ndarray], *, num_units: int, num_merges: int) -> Pairs:
    """The merges of the commonest pairs (Gage 1994; Sennrich et al. 2016, section 3.2) of unit sequences `[frames]`.

    Of equally common pairs, the one with the smallest tokens is merged. There are fewer than `num_merges` if no pair
    is left that occurs twice.

    Raises:
        UserError: a unit is none of `num_units`.
    """
    parts = [np.array([_GAP])]
    for sequence in sequences:
        parts += [_checked(sequence, num_units, "units"), np.array([_GAP])]
    tokens = np.concatenate(parts)
    counts = _PairCounts()
    counts.add(tokens, np.ones(len(tokens) - 1, dtype=bool), sign=1)
    merges = []
    for number in range(num_units, num_units + num_merges):
        pair = counts.commonest()
        if pair is None:
            break
        matches = _matches(tokens, pair)
        counts.add(tokens, _beside(matches), sign=-1)
        tokens = _merged(tokens, matches, number)
        made = tokens == number
        counts.add(tokens, made[:-1] | made[1:], sign=1)
        merges.append(pair)
    return Pairs(num_units=num_units, merges=tuple(merges))


class _PairCounts:
    """How often every pair of neighbours occurs, and which occurs most."""

    def __init__(self) -> None:
        self._counts: dict[tuple[int, int], int] = {}
        self._heap: list[tuple[int, tuple[int, int]]] = []  # also holds counts that are no longer true

    def add(self, tokens: np.ndarray, chosen: np.ndarray, *, sign: int) -> None:
        """Count the pairs that begin where `chosen`, bool `[len(tokens) - 1]`, is true; `sign` -1 takes them away."""
        chosen = chosen & (tokens[:-1] != _GAP) & (tokens[1:] != _GAP)
        base = int(tokens.max()) + 1
        keys, numbers = np.unique(tokens[:-1][chosen] * base + tokens[1:][chosen], return_counts=True)
        for key, number in zip(keys.tolist(), numbers.tolist(), strict=True):
            pair = divmod(key, base)
            self._counts[pair] = self._counts.get(pair, 0) + sign * number
            heappush(self._heap, (-self._counts[pair], pair))
        if len(self._heap) > 1000 + 4 * len(self._counts):
            self._heap = [(-count, pair) for pair, count in self._counts.items() if count > 1]
            heapify(self._heap)

    def commonest(self) -> tuple[int, int] | None:
        """The pair with the highest count, the smallest of equals; None if none occurs twice."""
        while self._heap and self._heap[0][0] < -1:
            negative, pair = self._heap[0]
            if self._counts[pair] == -negative:
                return pair
            heappop(self._heap)
        return None


def _matches(tokens: np.ndarray, pair: tuple[int, int]) -> np.ndarray:
    """Where `pair` begins, bool `[len(tokens) - 1]`; of those that overlap ("aaa"), the left one."""
    found = (tokens[:-1] == pair[0]) & (tokens[1:] == pair[1])
    if pair[0] == pair[1]:
        places = np.arange(len(found))
        before_run = np.maximum.accumulate(np.where(found, -1, places))
        found &= (places - before_run) % 2 == 1
    return found


def _merged(tokens: np.ndarray, matches: np.ndarray, number: int) -> np.ndarray:
    """`tokens` with token `number` in place of every match and its neighbour."""
    kept = np.ones(len(tokens), dtype=bool)
    kept[1:] = ~matches
    merged = tokens.copy()
    merged[:-1][matches] = number
    return merged[kept]


def _beside(matches: np.ndarray) -> np.ndarray:
    """Where pairs begin that a match is, or shares a token with."""
    beside = matches.copy()
    beside[1:] |= matches[:-1]
    beside[:-1] |= matches[1:]
    return beside


def _checked(sequence: np.ndarray, number: int, what: str) -> np.ndarray:
    """`sequence` as int64, if it is one of numbers below `number`."""
    if sequence.ndim != 1 or not np.issubdtype(sequence.dtype, np.integer):
        raise UserError(f"{what} must be one sequence of integers, not {sequence.dtype} of shape {sequence.shape}")
    if len(sequence) and not 0 <= sequence.min() <= sequence.max() < number:
        found = f"{sequence.min()} to {sequence.max()}"
        raise UserError(f"{what} go from 0 to {number - 1}, but these go from {found}: use the pairs of the same model")
    return sequence.astype(np.int64)
