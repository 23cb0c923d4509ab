import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.eval import Curve, bd_rate, curve_record
from codec.eval.curve import decibels

RATES = np.geomspace(0.05, 1.6, 9)


def cubic(quality: np.ndarray) -> np.ndarray:
    """A rate whose logarithm is a cubic of the quality."""
    t = (quality - 30) / 10
    return 0.3 * np.exp(1.1 * t + 0.2 * t**2 + 0.1 * t**3)


def curve(qualities: np.ndarray, scale: float = 1.0) -> Curve:
    return Curve.through(list(zip(scale * cubic(qualities), qualities, strict=True)))


def test_between_its_points_a_curve_is_straight_in_the_logarithm_of_the_rate():
    found = Curve.through([(0.4, 32.0), (0.1, 26.0), (0.2, 29.0)])
    assert [found.at(rate) for rate in (0.1, 0.2, 0.4)] == [26, 29, 32]
    assert found.at(0.1 * math.sqrt(2)) == pytest.approx(27.5)
    assert found.at(0.0999) is None and found.at(0.4001) is None


@given(st.floats(0.051, 1.59), st.floats(-5, 5), st.floats(10, 40))
def test_a_law_that_is_straight_in_the_logarithm_is_met_everywhere(rate, slope, base):
    found = Curve.through([(each, base + slope * math.log(each)) for each in RATES])
    assert found.at(rate) == pytest.approx(base + slope * math.log(rate), abs=1e-9)


def test_points_without_a_rate_or_a_quality_are_no_points():
    found = Curve.through([(0.1, None), (0.2, 29.0), (None, 30.0)])
    assert (found.rates.tolist(), found.qualities.tolist()) == ([0.2], [29.0])
    assert Curve.through([]).at(0.2) is None


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.25])
def test_a_curve_that_takes_so_many_times_the_bits_has_that_bd_rate(scale):
    qualities = np.linspace(22, 38, 7)
    assert bd_rate(curve(qualities, scale), curve(qualities)) == pytest.approx(100 * (scale - 1), abs=1e-6)


def test_bd_rate_is_the_mean_ratio_over_the_qualities_that_both_have():
    """Two analytic curves that end elsewhere; the mean of log(ratio) on a fine grid is the reference."""
    ours_at = np.linspace(20, 36, 9)
    ours = Curve.through([(0.01 * math.exp(0.12 * quality), quality) for quality in ours_at])
    theirs = curve(np.linspace(26, 40, 6))
    shared = np.linspace(26, 36, 100_001)
    expected = math.exp(np.mean(np.log(0.01) + 0.12 * shared - np.log(cubic(shared)))) - 1
    assert bd_rate(ours, theirs) == pytest.approx(100 * expected, rel=1e-4)  # the grid's trapezoids, not the cubics


def test_points_far_beyond_the_shared_qualities_do_not_move_the_bd_rate():
    near = np.linspace(24, 36, 7)
    bent = Curve.through([*zip(1.2 * cubic(near), near, strict=True), (3.0, 45.0), (50.0, 60.0)])
    assert bd_rate(curve(near), bent) == pytest.approx(100 * (1 / 1.2 - 1), abs=1e-6)


def test_there_is_no_bd_rate_without_four_points_or_anything_shared():
    whole = curve(np.linspace(22, 38, 7))
    assert bd_rate(curve(np.linspace(22, 38, 3)), whole) is None
    assert bd_rate(curve(np.linspace(40, 50, 7)), whole) is None
    assert bd_rate(Curve.through([]), whole) is None


def test_similarity_in_decibels():
    assert decibels(np.array([0.0, 0.9, 0.99])) == pytest.approx([0, 10, 20])
    assert Curve.through([(0.1, 0.9)]).in_decibels().qualities == pytest.approx([10])


def test_a_similarity_that_is_perfect_is_no_point_in_decibels():
    rates, similarities = (0.1, 0.2, 0.3, 0.4, 0.5), (0.9, 0.95, 0.97, 0.99, 1.0)
    found = Curve.through(list(zip(rates, similarities, strict=True))).in_decibels()
    assert found.rates.tolist() == [0.1, 0.2, 0.3, 0.4]
    assert bd_rate(found, found) == pytest.approx(0, abs=1e-9)


def test_a_record_lists_every_rate_in_the_words_that_other_tools_read():
    summary = {
        "items": 2,
        "bits_per_pixel": 0.2,
        "mean_bits_per_pixel": 0.3,
        "encode_s": 4.0,
        "decode_s": 1.0,
        "scores": {name: {"mean": mean, "low": 0.5, "high": 1.0} for name, mean in (("psnr", 28.0), ("ssim", 0.8))},
    }
    record = curve_record("ours", "in a test", [summary, summary | {"mean_bits_per_pixel": 0.6}], media="image")
    assert record["name"] == "ours" and record["description"] == "in a test"
    assert record["results"] == {
        "bpp": [0.3, 0.6],
        "bpp-corpus": [0.2, 0.2],
        "psnr-rgb": [28.0, 28.0],
        "ms-ssim-rgb": [None, None],
        "ssim-rgb": [0.8, 0.8],
        "encoding_time": [2.0, 2.0],
        "decoding_time": [0.5, 0.5],
    }
    assert Curve.of(record, "psnr-rgb").at(0.6) == 28 and Curve.of(record, "ms-ssim-rgb").at(0.6) is None
