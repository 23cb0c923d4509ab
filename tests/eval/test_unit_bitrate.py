import math

import numpy as np
import pytest

from codec.core.errors import UserError
from codec.core.runs import find_runs
from codec.eval.unit_bitrate import unit_bitrate


def test_equally_frequent_units_cost_the_logarithm_of_their_number():
    rate = unit_bitrate([np.tile(np.arange(8), 25), np.tile(np.arange(8), 25)], durations_s=[4.0, 4.0])
    assert (rate.units_per_second, rate.entropy_bits) == pytest.approx((50, 3))
    assert (rate.bits_per_second.mean, rate.bits_per_second.low) == pytest.approx((150, 150))


def test_frequencies_are_those_of_all_recordings_together():
    rate = unit_bitrate([np.zeros(30, np.int64), np.ones(10, np.int64)], durations_s=[3.0, 1.0])
    entropy = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert rate.bits_per_second.mean == pytest.approx(40 / 4 * entropy)
    # either recording alone, at the frequencies of both
    assert (rate.bits_per_second.low, rate.bits_per_second.high) == pytest.approx((-10 * math.log2(0.75), 20))


def test_runs_cost_less_than_their_frames():
    units = np.repeat(np.random.default_rng(0).integers(0, 16, 100), 4)
    frames = unit_bitrate([units], durations_s=[8.0])
    runs = unit_bitrate([find_runs(units).units], durations_s=[8.0])
    assert runs.bits_per_second.mean < frames.bits_per_second.mean / 3.5


def test_one_unit_and_no_units_cost_nothing():
    for sequences in ([np.zeros(9, np.int64)], [np.empty(0, np.int64)]):
        rate = unit_bitrate(sequences, durations_s=[2.0])
        assert rate.bits_per_second.mean == rate.entropy_bits == 0
    assert unit_bitrate([np.zeros(9, np.int64), np.empty(0, np.int64)], durations_s=[2.0, 1.0]).units_per_second == 3


@pytest.mark.parametrize("durations", [[], [1.0], [1.0, 0.0], [1.0, math.nan]])
def test_every_recording_needs_its_seconds(durations):
    with pytest.raises(UserError, match="seconds"):
        unit_bitrate([np.zeros(1, np.int64)] * 2, durations_s=durations)


def test_units_of_many_codebooks_are_refused():
    with pytest.raises(UserError, match="one sequence"):
        unit_bitrate([np.zeros((2, 3), np.int64)], durations_s=[1.0])
