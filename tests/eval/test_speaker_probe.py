import numpy as np
import pytest
import torch

from codec.core.errors import UserError
from codec.eval import speaker_probe
from codec.eval.speaker_probe import SpokenSegments, segment_histograms, segment_means, speaker_scores


def spoken(*, apart, speakers="abcd", num_recordings=6, num_segments=10, width=5):
    """Recordings of noise about a place of each speaker, `apart` standard deviations from the others."""
    generator = np.random.default_rng(0)
    places = {speaker: apart * generator.standard_normal(width) for speaker in speakers}
    return [
        SpokenSegments(speaker, places[speaker] + generator.standard_normal((num_segments, width)))
        for _ in range(num_recordings)
        for speaker in speakers
    ]


def test_speakers_far_apart_are_all_told():
    scores = speaker_scores(spoken(apart=100.0))
    assert (scores.accuracy.mean, scores.accuracy.low, scores.accuracy.high) == (1, 1, 1)
    assert (scores.chance, scores.num_speakers, scores.left_out) == (0.25, 4, ())
    assert (scores.num_train_segments, scores.num_test_segments, scores.accuracy.count) == (120, 120, 12)


def test_speakers_in_one_place_are_told_by_chance_only():
    scores = speaker_scores(spoken(apart=0.0, num_recordings=40))
    # 800 test segments: a standard error of 0.015
    assert scores.accuracy.mean == pytest.approx(scores.chance, abs=0.05)


def test_the_same_recordings_give_the_same_scores():
    assert speaker_scores(spoken(apart=1.0)) == speaker_scores(spoken(apart=1.0))


def test_the_scale_of_the_inputs_and_what_never_changes_make_no_difference():
    plain = spoken(apart=1.0)
    scaled = [
        SpokenSegments(row.speaker, np.hstack([1e6 * row.segments + 7, np.full((len(row.segments), 1), 3e9)]))
        for row in plain
    ]
    assert speaker_scores(scaled).accuracy == speaker_scores(plain).accuracy


def test_the_probe_reaches_the_least_loss():
    inputs, truth = np.random.default_rng(0).standard_normal((60, 5)), np.arange(60) % 3
    weight, bias = speaker_probe._fit(torch.from_numpy(inputs), torch.from_numpy(truth))
    odds = np.exp(inputs @ weight + bias)
    errors = odds / odds.sum(axis=1, keepdims=True) - np.eye(3)[truth]
    # the gradient of the summed cross-entropy and half the squared weights, 60 times that which the fit stops at
    assert np.abs(inputs.T @ errors + weight).max() < 1e-5 and np.abs(errors.sum(axis=0)).max() < 1e-5


def test_speakers_with_one_recording_are_left_out_and_named():
    alone = [SpokenSegments("z", np.zeros((3, 5))), SpokenSegments("y", np.zeros((3, 5)))]
    silent = SpokenSegments("y", np.zeros((0, 5)))
    scores = speaker_scores([*alone, *spoken(apart=100.0), silent])
    assert scores.left_out == ("y", "z") and scores.num_speakers == 4 and scores.accuracy.mean == 1


def test_chance_is_the_speaker_with_most_training_segments():
    rows = {"a": (30, 10), "b": (10, 30)}
    parts = [SpokenSegments(name, np.ones((number, 2))) for name, numbers in rows.items() for number in numbers]
    assert speaker_scores(parts).chance == 0.25


def test_fewer_than_two_speakers_are_refused():
    for parts in ([], spoken(apart=1.0, speakers="a"), spoken(apart=1.0, num_recordings=1)):
        with pytest.raises(UserError, match="2 speakers with 2 recordings each"):
            speaker_scores(parts)


def test_segments_that_cannot_be_compared_are_refused():
    with pytest.raises(UserError, match="one model"):
        speaker_scores([*spoken(apart=1.0), *spoken(apart=1.0, width=3)])
    with pytest.raises(UserError, match="finite vectors"):
        SpokenSegments("a", np.full((1, 2), np.nan))


def test_a_segment_is_the_mean_of_its_frames_and_the_rest_is_dropped():
    vectors = np.arange(14, dtype=np.float32).reshape(7, 2)
    assert segment_means(vectors, frame_rate=10, segment_s=0.3).tolist() == [[2, 3], [8, 9]]
    assert segment_means(vectors, frame_rate=10, segment_s=1.0).tolist() == [[6, 7]]
    assert segment_means(vectors[:0], frame_rate=10, segment_s=1.0).shape == (0, 2)


def test_a_histogram_is_the_share_of_every_unit():
    units = np.array([0, 0, 2, 1, 1, 1])
    found = segment_histograms(units, num_units=3, frame_rate=100, segment_s=0.03)
    assert found == pytest.approx(np.array([[2 / 3, 0, 1 / 3], [0, 1, 0]]))
    assert segment_histograms(units[:0], num_units=3, frame_rate=100, segment_s=0.03).shape == (0, 3)
    wide = segment_histograms(units, num_units=2**16, frame_rate=100, segment_s=0.03)  # no row of 2**16 for each frame
    assert wide.shape == (2, 2**16) and wide[:, :3] == pytest.approx(found)
    with pytest.raises(UserError, match="num_units=2"):
        segment_histograms(units, num_units=2, frame_rate=100, segment_s=0.03)
    with pytest.raises(UserError, match="less than one"):
        segment_means(np.zeros((3, 1)), frame_rate=10, segment_s=0.01)
