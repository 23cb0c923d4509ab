import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.metrics import align, mel_distance, score_audio, si_sdr, stft_distance
from tests.metrics.signals import RATE, voice


def test_si_sdr_of_orthogonal_noise_is_the_ratio_of_energies():
    rng = np.random.default_rng(0)
    signal = rng.standard_normal(8000)
    signal -= signal.mean()
    noise = rng.standard_normal(8000)
    noise -= noise.mean()
    noise -= (noise @ signal) / (signal @ signal) * signal
    noise *= np.linalg.norm(signal) / np.linalg.norm(noise) / 10  # 20 dB below
    assert si_sdr(signal, signal + noise).value == pytest.approx(20, abs=1e-9)


@given(gain=st.floats(0.01, 100), seed=st.integers(0, 99))
def test_si_sdr_does_not_hear_the_gain(gain, seed):
    rng = np.random.default_rng(seed)
    signal, noise = rng.standard_normal((2, 2000))
    plain, scaled = si_sdr(signal, signal + noise), si_sdr(signal, gain * (signal + noise))
    assert plain.value == pytest.approx(scaled.value, abs=1e-6)


def test_identical_signals_are_perfect():
    signal = voice()
    assert si_sdr(signal, signal).value == math.inf
    assert mel_distance(signal, signal, sample_rate=RATE).value == 0


def test_mel_distance_of_a_gain_is_that_gain_in_db():
    signal = np.random.default_rng(0).standard_normal(RATE)  # every band far above the floor
    assert mel_distance(signal, signal / 10, sample_rate=RATE).value == pytest.approx(20, abs=1e-3)


def test_stft_distance_of_a_gain_is_that_gain_in_db_and_silence_is_at_the_floor():
    signal = np.random.default_rng(0).standard_normal(RATE)
    assert stft_distance(signal, signal / 10, sample_rate=RATE).value == pytest.approx(20, abs=0.05)
    assert stft_distance(signal, signal, sample_rate=RATE).value == 0
    silence = np.zeros(RATE)
    assert stft_distance(silence, 1e-6 * signal, sample_rate=RATE).value == 0


def test_stft_distance_is_that_of_a_slow_transform():
    rng = np.random.default_rng(1)
    first, second = rng.standard_normal((2, 1500))
    differences = []
    for size in (256, 512, 1024):
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
        transform = np.exp(-2j * np.pi * np.outer(np.arange(size // 2 + 1), np.arange(size)) / size) * window
        level = [
            20 * np.log10(np.abs(transform @ row[start : start + size]) / window.sum())
            for start in range(0, 1500 - size + 1, size // 4)
            for row in (first, second)
        ]
        differences.append(np.mean(np.abs(np.array(level[::2]) - np.array(level[1::2]))))
    found = stft_distance(first, second, sample_rate=RATE).value
    assert found == pytest.approx(np.mean(differences), rel=1e-3)  # float32


@pytest.mark.parametrize("sample_rate", [8000, 16000, 44100, 48000])
def test_every_mel_band_hears_something(sample_rate):
    from codec.metrics.waveform import _mel_bank

    bank = _mel_bank(round(0.064 * sample_rate) // 2 + 1, sample_rate)
    assert (bank.sum(0) > 0).all()


@settings(deadline=None, max_examples=40)
@given(delay=st.integers(-1500, 1500), seed=st.integers(0, 99))
def test_a_delay_is_found_and_undone(delay, seed):
    whole = np.random.default_rng(seed).standard_normal((2, 8000))
    reference, estimate = whole[:, 2000:6000], whole[:, 2000 - delay : 6000 - delay]
    pair = align(reference, estimate, sample_rate=RATE)
    assert pair.delay == delay
    assert np.array_equal(pair.reference, pair.estimate)


def test_the_contour_finds_the_delay_when_the_waveform_is_lost():
    signal = voice(3)
    rng = np.random.default_rng(1)
    loudness = np.sqrt(np.convolve(signal**2, np.full(160, 1 / 160), mode="same"))
    unlike = np.roll(loudness * rng.standard_normal(len(signal)), 480)  # the contour survives, 30 ms late
    assert align(signal, unlike, sample_rate=RATE).delay == pytest.approx(480, abs=80)


@pytest.mark.parametrize("length", [1, 2, 100])
def test_short_silent_and_constant_signals_stay_in_place(length):
    for signal in (np.zeros(length), np.full(length, 0.3)):
        pair = align(signal, signal, sample_rate=RATE)
        assert pair.delay == 0 and pair.reference.shape == (1, length)


@pytest.mark.parametrize("length", [1, 1000, 2 * RATE])
def test_silence_gets_reasons_and_never_a_crash(length):
    silence, sound = np.zeros((2, length)), np.stack([voice()[:length]] * 2)
    for reference, estimate in [(silence, silence), (silence, sound), (sound, silence)]:
        for name, score in score_audio(reference, estimate, sample_rate=RATE).items():
            assert score.note if score.value is None else math.isfinite(score.value), name
    assert score_audio(silence, silence, sample_rate=RATE)["si_sdr"].value is None


def test_tensors_and_unequal_lengths_are_welcome():
    signal = torch.from_numpy(voice()).float()[None]
    scores = score_audio(signal, signal[:, :-7], sample_rate=RATE, metrics=("si_sdr", "mel_distance"))
    assert scores["si_sdr"].value == math.inf


def test_channels_that_disagree_are_refused():
    with pytest.raises(ValueError, match="2 channels and estimate 1"):
        align(np.zeros((2, 10)), np.zeros((1, 10)), sample_rate=RATE)
