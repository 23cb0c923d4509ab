import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.eval import mean_interval


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30))
def test_the_interval_holds_the_mean_and_stays_among_the_values(values):
    found = mean_interval(values)
    assert found is not None
    slack = 1e-9 * (1 + max(map(abs, values)))
    assert min(values) - slack <= found.low <= found.high <= max(values) + slack
    assert found.mean == pytest.approx(np.mean(values), abs=slack)


def test_the_width_is_that_of_the_normal_law():
    values = np.random.default_rng(0).standard_normal(400)
    found = mean_interval(values.tolist())
    assert found is not None
    # 2 x 1.96 standard errors; 2000 resamples leave a few per cent of noise
    assert found.high - found.low == pytest.approx(3.92 * values.std() / 20, rel=0.1)


def test_absent_values_are_left_out():
    found = mean_interval([1.0, None, 3.0])
    assert found is not None and (found.mean, found.count) == (2.0, 2)
    assert mean_interval([None]) is None


def test_the_same_values_give_the_same_interval():
    assert mean_interval([1.0, 2.0, 5.0]) == mean_interval([1.0, 2.0, 5.0])
