import numpy as np
import pytest

from codec.metrics import mean_score, pesq, score_audio, stoi, visqol
from codec.metrics import perceptual as perceptual_module
from codec.metrics.score import Score
from tests.metrics.signals import RATE, noisy, value, voice


def test_identical_speech_scores_the_top_of_each_scale():
    pytest.importorskip("pesq")
    pytest.importorskip("pystoi")
    signal = voice(3)
    assert pesq(signal, signal, sample_rate=RATE).value == pytest.approx(4.64, abs=0.01)  # P.862.2's ceiling
    assert pesq(signal[::2], signal[::2], sample_rate=8000).value == pytest.approx(4.55, abs=0.01)  # P.862.1's
    assert stoi(signal, signal, sample_rate=RATE).value == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("metric", [pesq, stoi], ids=["pesq", "stoi"])
def test_more_noise_scores_lower(metric):
    pytest.importorskip({pesq: "pesq", stoi: "pystoi"}[metric])
    signal = voice(3)
    scores = [value(metric(signal, noisy(signal, snr), sample_rate=RATE)) for snr in (30, 15, 0)]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) == 3


def test_a_long_recording_is_scored_in_pieces():
    pytest.importorskip("pesq")
    signal = voice(4)
    long = np.tile(signal, 5)
    short, whole = (value(pesq(x, noisy(x, 10), sample_rate=RATE)) for x in (signal, long))
    assert whole == pytest.approx(short, abs=0.5)  # the same speech; pieces are cut elsewhere


def test_a_delay_does_not_lower_the_scores():
    pytest.importorskip("pystoi")
    signal = noisy(voice(4), 40)
    late = np.concatenate([np.zeros(331), signal])[: len(signal)]
    scores = score_audio(signal, late, sample_rate=RATE, metrics=("stoi", "si_sdr"))
    assert value(scores["stoi"]) > 0.999 and value(scores["si_sdr"]) > 100


@pytest.mark.slow
def test_visqol_prefers_the_original():
    pytest.importorskip("visqol")
    signal = voice(3)
    best, worse = (value(visqol(signal, x, sample_rate=RATE)) for x in (signal, noisy(signal, 5)))
    assert best > 4 and best > worse


@pytest.mark.parametrize("metric", [pesq, stoi, visqol])
def test_an_absent_package_gives_an_absent_score_and_the_way_to_get_it(metric, monkeypatch):
    monkeypatch.setattr(perceptual_module, "_find", lambda package: None)
    score = metric(voice(1), voice(1), sample_rate=RATE)
    assert score.value is None and "vq-codec[metrics]" in score.note


def test_the_mean_leaves_absent_scores_out():
    assert mean_score([Score(1.0), Score(None, "silent"), Score(3.0)]).value == 2
    assert mean_score([Score(None, "silent")]) == Score(None, "silent")
