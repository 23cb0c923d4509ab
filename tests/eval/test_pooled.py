import numpy as np
import pytest

from codec.eval.interval import mean_interval
from codec.eval.pooled import pooled_interval, pooled_ratio


def test_recordings_of_equal_length_give_the_interval_of_their_mean():
    values = np.random.default_rng(0).standard_normal(300)
    pooled, plain = pooled_ratio(values, np.ones(300)), mean_interval(values.tolist())
    assert pooled is not None and plain is not None
    assert pooled.mean == pytest.approx(plain.mean)
    # 2000 resamples leave a few per cent of noise in the ends
    assert (pooled.low, pooled.high) == pytest.approx((plain.low, plain.high), abs=0.1 * (plain.high - plain.low))


def test_long_recordings_weigh_more():
    found = pooled_ratio(np.array([90.0, 0.0]), np.array([90.0, 10.0]))
    assert found is not None and (found.mean, found.low, found.high, found.count) == (0.9, 0.0, 1.0, 2)


def test_recordings_that_add_nothing_are_not_counted():
    found = pooled_ratio(np.array([1.0, 0.0, 2.0]), np.array([2.0, 0.0, 2.0]))
    assert found is not None and found.count == 2


def test_nothing_to_measure_is_none():
    assert pooled_ratio(np.zeros(3), np.zeros(3)) is None
    assert pooled_ratio(np.empty(0), np.empty(0)) is None


def test_resamples_that_say_nothing_are_left_out():
    found = pooled_ratio(np.array([1.0, 1.0]), np.array([0.0, 1.0]))
    assert found is not None and (found.mean, found.low, found.high) == (2.0, 1.0, 2.0)


def test_the_same_totals_give_the_same_interval():
    totals = np.random.default_rng(1).random((20, 1))
    first, again = (pooled_interval(totals, lambda sums: sums[..., 0]) for _ in range(2))
    assert first == again != pooled_interval(totals, lambda sums: sums[..., 0], seed=1)
