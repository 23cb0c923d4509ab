import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.core.errors import UserError
from codec.eval.clusters import LabelledUnits, cluster_scores, confusion_counts
from tests.references import agreement

MEASURES = ("accuracy", "accuracy_without_silence", "phone_purity", "cluster_purity", "pnmi", "nmi")
PARTS = st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 3)), max_size=12), min_size=1, max_size=4)


def recording(units, labels, dtype: type[np.integer] = np.int64):
    return LabelledUnits(np.array(units, dtype=dtype), np.array(labels, dtype=np.int64))


def recordings(parts):
    return [recording([unit for unit, _ in part], [label for _, label in part]) for part in parts]


def means(scores):
    intervals = {name: getattr(scores, name) for name in (*MEASURES, "commonest", "commonest_without_silence")}
    return {name: interval and interval.mean for name, interval in intervals.items()}


def speech(seed=0, num_recordings=30, num_phones=5):
    generator = np.random.default_rng(seed)
    return [np.repeat(generator.integers(0, num_phones, 20), 5) for _ in range(num_recordings)]


def known(parts):
    return [(unit, label) for part in parts for unit, label in part if label >= 0]


def spoken(frames):
    return [(unit, label) for unit, label in frames if label != 0]


@settings(max_examples=40, deadline=None)
@given(PARTS, PARTS)
def test_scores_are_those_of_the_definitions(parts, others):
    frames, mapping = known(parts), known(others)
    if not frames or not mapping:
        return
    found = means(cluster_scores(recordings(parts), silence=0))
    swapped = [(label, unit) for unit, label in frames]
    shared, phones, units = (
        agreement.information(frames),
        agreement.entropy([label for _, label in frames]),
        agreement.entropy([unit for unit, _ in frames]),
    )
    expected = {
        "accuracy": agreement.mapped_accuracy(frames, frames),
        "phone_purity": agreement.purity(frames),
        "cluster_purity": agreement.purity(swapped),
        "pnmi": shared / phones if phones > 0 else None,
        "nmi": 2 * shared / (phones + units) if phones + units > 0 else None,
    }
    for name, value in expected.items():
        assert found[name] == (None if value is None else pytest.approx(value, abs=1e-9)), name
    found = means(cluster_scores(recordings(parts), silence=0, mapping_from=recordings(others)))
    assert found["accuracy"] == pytest.approx(agreement.mapped_accuracy(frames, mapping))
    one = [(0, label) for _, label in mapping]
    assert found["commonest"] == pytest.approx(agreement.mapped_accuracy([(0, label) for _, label in frames], one))
    if spoken(frames) and spoken(mapping):
        expected = agreement.mapped_accuracy(spoken(frames), spoken(mapping))
        assert found["accuracy_without_silence"] == pytest.approx(expected)


def test_perfect_units_have_every_score_at_1_whatever_their_numbers():
    labels = speech()
    permuted = np.random.default_rng(1).permutation(5)
    for units in (labels, [permuted[row] for row in labels]):
        scores = cluster_scores([recording(*pair) for pair in zip(units, labels, strict=True)], silence=0)
        for name in MEASURES:
            interval = getattr(scores, name)
            assert (interval.mean, interval.low, interval.high) == pytest.approx((1, 1, 1)), name


def test_one_unit_reaches_the_floor_and_tells_nothing():
    found = means(cluster_scores([recording(np.zeros_like(row), row) for row in speech()], silence=0))
    assert found["accuracy"] == found["phone_purity"] == found["commonest"]
    assert found["accuracy_without_silence"] == found["commonest_without_silence"]
    assert found["cluster_purity"] == 1
    assert (found["pnmi"], found["nmi"]) == pytest.approx((0, 0), abs=1e-12)


def test_random_units_tell_nearly_nothing():
    generator, labels = np.random.default_rng(2), speech(num_recordings=100)
    units = [generator.integers(0, 8, len(row)) for row in labels]
    found = means(cluster_scores([recording(*pair) for pair in zip(units, labels, strict=True)]))
    # of 10000 frames, a table of 8 x 5 takes about 7 * 4 / 2 / 10000 nats of ln 5 by chance
    assert found["pnmi"] == pytest.approx(7 * 4 / 2 / 10000 / np.log(5), abs=1e-3)
    assert found["accuracy"] == pytest.approx(0.2, abs=0.03)


def test_a_mapping_of_other_recordings_does_not_flatter():
    generator, labels = np.random.default_rng(3), speech(num_recordings=4)
    parts = [recording(generator.integers(0, 1000, len(row)), row) for row in labels]  # hardly a unit occurs twice
    own, others = means(cluster_scores(parts[:2])), means(cluster_scores(parts[:2], mapping_from=parts[2:]))
    assert own["accuracy"] > 0.8 and others["accuracy"] < 0.25
    assert own["phone_purity"] == others["phone_purity"]


def test_silence_is_dropped_before_mapping():
    part = recording([0, 0, 0, 1], [0, 0, 1, 2])  # unit 0 is mostly silence, of speech it is phone 1
    found = means(cluster_scores([part], silence=0))
    assert (found["accuracy"], found["accuracy_without_silence"]) == (0.75, 1.0)
    assert (found["commonest"], found["commonest_without_silence"]) == (0.5, 0.5)


def test_recordings_without_frames_or_phones_change_nothing():
    parts = [recording([0, 1, 1], [0, 1, 0]), recording([1, 0], [1, 1])]
    more = [*parts, recording([], []), recording([3, 3], [-1, -1])]
    assert means(cluster_scores(parts)) == means(cluster_scores(more))
    accuracy = cluster_scores(more).accuracy
    assert accuracy is not None and accuracy.count == 2


def test_one_phone_defines_no_information_and_silence_alone_no_accuracy_of_speech():
    found = means(cluster_scores([recording([0, 1], [0, 0])], silence=0))
    assert found["pnmi"] is None and found["nmi"] == 0 and found["accuracy_without_silence"] is None


def test_confusions_count_frames_by_unit_and_phone():
    parts = [recording([0, 2, 2, 1], [1, 0, 0, -1]), recording([2], [1], dtype=np.uint8)]
    assert confusion_counts(parts).tolist() == [[0, 1], [0, 0], [2, 1]]
    assert cluster_scores(parts).confusion.tolist() == [[0, 1], [0, 0], [2, 1]]


def test_the_interval_of_accuracy_holds_it_and_the_seed_decides_it():
    generator, labels = np.random.default_rng(4), speech()
    parts = [recording(np.where(generator.random(len(row)) < 0.3, 0, row), row) for row in labels]
    scores = cluster_scores(parts)
    for name in MEASURES:
        interval = getattr(scores, name)
        assert interval.low < interval.mean < interval.high and interval.count == 30
    assert cluster_scores(parts).accuracy == scores.accuracy != cluster_scores(parts, seed=1).accuracy


def test_recordings_that_cannot_be_scored_are_refused():
    with pytest.raises(UserError, match="one unit and one label a frame"):
        recording([0, 1], [0])
    with pytest.raises(UserError, match="units must be integers from 0"):
        recording([-1], [0])
    with pytest.raises(UserError, match="labels must be integers from -1"):
        recording([0], [-2])
    with pytest.raises(UserError, match="to score has a label"):
        cluster_scores([recording([0], [-1])])
    with pytest.raises(UserError, match="to map by has a label"):
        cluster_scores([recording([0], [0])], mapping_from=[])
