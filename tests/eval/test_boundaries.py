import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.core.errors import UserError
from codec.eval.boundaries import boundary_scores, count_hits, near_phones, phone_boundaries, run_boundaries
from codec.eval.phones import Phone
from tests.references.matching import most_pairs

TIMES = st.lists(st.integers(0, 40), max_size=10).map(sorted)  # hundredths of a second


def seconds(times):
    return np.array(times, dtype=np.float64) / 100


@given(TIMES, TIMES, st.integers(0, 5))
def test_hits_are_the_most_pairs_there_can_be(found, reference, tolerance):
    partners = [[j for j, truth in enumerate(reference) if abs(time - truth) <= tolerance] for time in found]
    hits = count_hits(seconds(found), seconds(reference), tolerance_s=tolerance / 100)
    assert hits == most_pairs(partners)


def test_pairing_with_the_nearest_would_lose_a_hit():
    assert count_hits(seconds([2, 3]), seconds([0, 2]), tolerance_s=0.02) == 2


def test_a_boundary_right_at_the_tolerance_is_a_hit():
    assert count_hits(np.array([0.28]), np.array([0.30]), tolerance_s=0.02) == 1
    assert count_hits(np.array([0.279]), np.array([0.30]), tolerance_s=0.02) == 0


def means(scores):
    intervals = [scores.precision, scores.recall, scores.f1, scores.over_segmentation, scores.r_value]
    return [interval and interval.mean for interval in intervals]


def test_perfect_boundaries_have_every_score_at_its_best():
    rows = [seconds([5, 20, 33]), seconds([7])]
    assert means(boundary_scores(rows, rows)) == [1, 1, 1, 0, 1]


def test_scores_are_those_of_the_formulas():
    scores = boundary_scores([seconds([10, 20, 30, 40])], [seconds([11, 30])])
    assert (scores.num_hits, scores.num_found, scores.num_reference) == (2, 4, 2)
    # hit rate 1, over-segmentation 1: distances 1 and 1 / sqrt 2
    assert means(scores) == pytest.approx([0.5, 1, 2 / 3, 1, 1 - (1 + 1 / math.sqrt(2)) / 2])


def test_boundaries_everywhere_have_a_good_f1_and_a_poor_r_value():
    reference = [seconds(range(10, 1000, 8))]
    everywhere = boundary_scores([seconds(range(0, 1000, 4))], reference)
    assert everywhere.f1 is not None and everywhere.r_value is not None
    assert everywhere.f1.mean > 0.65 and everywhere.r_value.mean < 0.2


def test_no_boundaries_found_is_the_worst_recall_and_no_precision():
    assert means(boundary_scores([seconds([])], [seconds([3])])) == pytest.approx(
        [None, 0, 0, -1, 1 - math.sqrt(2) / 2]
    )


def test_no_boundaries_of_reference_define_only_a_precision():
    assert means(boundary_scores([seconds([3])], [seconds([])])) == [0, None, 0, None, None]
    assert means(boundary_scores([seconds([])], [seconds([])])) == means(boundary_scores([], [])) == [None] * 5


def test_intervals_are_over_recordings():
    generator = np.random.default_rng(0)
    reference = [np.sort(generator.random(20)) for _ in range(30)]
    scores = boundary_scores([np.sort(generator.random(25)) for _ in range(30)], reference)
    for interval in (scores.precision, scores.recall, scores.f1, scores.r_value):
        assert interval is not None and interval.low < interval.mean < interval.high and interval.count == 30


def test_units_change_where_runs_begin():
    assert run_boundaries(np.array([3, 3, 1, 1, 1, 3]), frame_rate=50).tolist() == [0.04, 0.1]
    assert run_boundaries(np.array([2, 2]), frame_rate=50).tolist() == []
    assert run_boundaries(np.empty(0, np.int64), frame_rate=50).tolist() == []


def test_mistakes_are_told():
    with pytest.raises(UserError, match="ascending"):
        boundary_scores([seconds([3, 2])], [seconds([3])])
    with pytest.raises(UserError, match="1 recordings beside a reference of 2"):
        boundary_scores([seconds([3])], [seconds([3])] * 2)
    with pytest.raises(UserError, match="tolerance_s=-1"):
        boundary_scores([], [], tolerance_s=-1)


@given(st.lists(st.integers(3, 30), min_size=1, max_size=20), st.data())
def test_where_phones_tile_a_recording_their_starts_are_the_reference_and_every_boundary_counts(lengths, data):
    ends = np.cumsum(lengths) / 50
    starts = np.concatenate([[0], ends[:-1]])
    phones = [Phone("A", start, end) for start, end in zip(starts, ends, strict=True)]
    assert phone_boundaries(phones, duration_s=ends[-1] + 0.015).tolist() == starts[1:].tolist()
    frames = data.draw(st.lists(st.integers(1, sum(lengths) - 1), max_size=20, unique=True))
    times = np.sort(np.array(frames)) / 50
    assert near_phones(times, phones).tolist() == times.tolist()


def test_what_is_not_known_counts_neither_for_nor_against():
    phones = [Phone("A", 1.0, 1.2), Phone("B", 1.2, 1.5), Phone("A", 2.0, 2.5)]
    assert phone_boundaries(phones, duration_s=4).tolist() == [1.0, 1.2, 1.5, 2.0, 2.5]
    assert phone_boundaries(phones, duration_s=2.5).tolist() == [1.0, 1.2, 1.5, 2.0]
    assert phone_boundaries([], duration_s=1).tolist() == []
    times = np.array([0.5, 0.97, 0.98, 1.3, 1.52, 1.6, 1.98, 2.52, 2.6])
    assert near_phones(times, phones).tolist() == [0.98, 1.3, 1.52, 1.98, 2.52]
    assert near_phones(times, []).tolist() == []
