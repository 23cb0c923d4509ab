"""A mean and how far to trust it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """Mean over `count` items with the ends of its 95 % bootstrap confidence interval."""

    mean: float
    low: float
    high: float
    count: int


def mean_interval(values: Iterable[float | None], *, seed: int = 0) -> Interval | None:
    """Mean and percentile bootstrap interval (Efron 1979; 2000 resamples) of the values that are there.

    None if there are none. The same values give the same interval: the resamples are drawn from `seed`.
    """
    present = np.array([value for value in values if value is not None], dtype=np.float64)
    if not len(present):
        return None
    mean = float(present.mean())
    if len(present) == 1:
        return Interval(mean, mean, mean, 1)
    generator = np.random.default_rng(seed)
    means = [generator.choice(present, len(present)).mean() for _ in range(_RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(mean, float(low), float(high), len(present))
