"""Measures of all recordings together, and how far to trust them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from codec.eval.interval import Interval

_RESAMPLES = 2000
_AT_ONCE = 1 << 20  # numbers in memory


def pooled_interval(
    totals: np.ndarray, measure: Callable[[np.ndarray], np.ndarray], *, seed: int = 0
) -> Interval | None:
    """`measure` of the sums over recordings, with a percentile bootstrap interval (2000 resamples of recordings).

    Long recordings weigh more than short ones, as where all frames are counted together. The same totals give the
    same interval: the resamples are drawn from `seed`.

    Args:
        totals: what every recording adds, `[recordings, m]`; rows of zeros are left out.
        measure: maps sums `[..., m]` to values `[...]`, NaN where they say nothing.

    Returns:
        None if `measure` of all recordings is NaN; resamples in which it is NaN are left out.
    """
    totals = totals[totals.any(axis=1)].astype(np.float64)
    mean = float(measure(totals.sum(axis=0)))
    if np.isnan(mean):
        return None
    if len(totals) < 2:
        return Interval(mean, mean, mean, len(totals))
    low, high = np.nanquantile(measure(_resampled_sums(totals, np.random.default_rng(seed))), [0.025, 0.975])
    return Interval(mean, float(low), float(high), len(totals))


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """`above` / `below`, NaN where `below` is 0."""
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=np.asarray(below) != 0)


def pooled_ratio(above: np.ndarray, below: np.ndarray, *, seed: int = 0) -> Interval | None:
    """Sum of `above` over sum of `below`, each one number a recording, with its interval; None if `below` sums to 0."""
    return pooled_interval(np.stack([above, below], axis=1), lambda sums: ratio(sums[..., 0], sums[..., 1]), seed=seed)


def _resampled_sums(totals: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Sums `[resamples, m]` of as many rows of `totals` `[recordings, m]` as there are, drawn with repetition."""
    step = max(1, _AT_ONCE // totals.size)
    sizes = [(min(step, _RESAMPLES - first), len(totals)) for first in range(0, _RESAMPLES, step)]
    return np.concatenate([totals[generator.integers(len(totals), size=size)].sum(axis=1) for size in sizes])
