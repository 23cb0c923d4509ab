"""Agreement of units and phones with dictionaries, frame by frame, from the definitions."""

from __future__ import annotations

import math
from collections import Counter

Frames = list[tuple[int, int]]
"""(unit, phone) of each frame."""


def mapped_accuracy(frames: Frames, mapping_from: Frames) -> float:
    """Share of frames whose phone is the commonest that their unit has in `mapping_from`, the first of equals."""
    counts = Counter(mapping_from)
    phones = sorted({phone for _, phone in mapping_from})
    mapping = {unit: max(phones, key=lambda phone: counts[unit, phone]) for unit, _ in mapping_from}
    return sum(mapping.get(unit) == phone for unit, phone in frames) / len(frames)


def purity(frames: Frames) -> float:
    """The mean over units, by their frequency, of the probability of their commonest phone."""
    units = Counter(unit for unit, _ in frames)
    counts = Counter(frames)
    best = {unit: max(n for (other, _), n in counts.items() if other == unit) / total for unit, total in units.items()}
    return sum(total / len(frames) * best[unit] for unit, total in units.items())


def entropy(values: list) -> float:
    """Nats of the frequencies of `values`."""
    return -sum(n / len(values) * math.log(n / len(values)) for n in Counter(values).values())


def information(frames: Frames) -> float:
    """H(unit) + H(phone) - H(unit, phone), in nats."""
    return entropy([unit for unit, _ in frames]) + entropy([phone for _, phone in frames]) - entropy(frames)
