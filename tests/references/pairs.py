"""Byte-pair merging with plain lists: counts everything again for every merge."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise


def learn(sequences: list[list[int]], num_units: int, num_merges: int) -> list[tuple[int, int]]:
    """The merges, commonest pair first; of equals the smallest; none that occurs once."""
    merges = []
    for number in range(num_units, num_units + num_merges):
        counts = Counter(pair for sequence in sequences for pair in pairwise(sequence))
        counts = {pair: count for pair, count in counts.items() if count > 1}
        if not counts:
            break
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        sequences = [merge(sequence, pair, number) for sequence in sequences]
        merges.append(pair)
    return merges


def merge(sequence: list[int], pair: tuple[int, int], number: int) -> list[int]:
    """`sequence` with `number` for every `pair`, from left to right."""
    merged, place = [], 0
    while place < len(sequence):
        if tuple(sequence[place : place + 2]) == pair:
            merged.append(number)
            place += 2
        else:
            merged.append(sequence[place])
            place += 1
    return merged
