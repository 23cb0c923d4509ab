"""From log mel magnitudes back to sound: what is heard again has the same magnitudes."""

import pytest
import torch

from codec.core.spectral import mel_filters
from codec.nn.features import FLOOR, Features, LogMelConfig
from codec.nn.griffin_lim import griffin_lim, sound_of, unfiltered

RATE = 16000
CONFIG = LogMelConfig(window=640, num_mels=100, normalise=False)


def _harmonics(pitch, seconds=1.0):
    time = torch.arange(int(seconds * RATE)) / RATE
    k = torch.arange(1, 9)[:, None]
    return (0.3 / k * torch.sin(2 * torch.pi * pitch * k * time)).sum(0)[None, None]


@pytest.mark.parametrize("pitch", [110, 220])
def test_harmonics_come_back_with_their_magnitudes(pitch):
    features = Features(CONFIG, sample_rate=RATE)
    heard = features(_harmonics(pitch))
    again = sound_of(heard, CONFIG, sample_rate=RATE)
    loud = heard > heard.max() - 4  # 35 dB
    assert again.shape == (1, 1, RATE)
    assert (features(again) - heard)[loud].abs().mean() < 0.15  # 1.3 dB
    spectrum = torch.fft.rfft(again[0, 0] * torch.hann_window(RATE)).abs()
    assert spectrum[60:1000].argmax() + 60 == pytest.approx(pitch, abs=1)


def test_a_click_comes_back_when_it_was():
    click = torch.zeros(1, 1, 8000)
    click[..., 3000:3020] = 0.8
    again = sound_of(Features(CONFIG, sample_rate=RATE)(click), CONFIG, sample_rate=RATE)
    centre = (again.square() * torch.arange(8000)).sum() / again.square().sum()
    assert centre == pytest.approx(3010, abs=160)


def test_silence_stays_silent_and_the_sound_is_always_the_same():
    silence = torch.full((1, 100, 20), FLOOR).log()
    assert sound_of(silence, CONFIG, sample_rate=RATE).abs().max() < 1e-4
    heard = Features(CONFIG, sample_rate=RATE)(_harmonics(150, 0.2))
    first = sound_of(heard, CONFIG, sample_rate=RATE)
    torch.rand(3)
    assert torch.equal(first, sound_of(heard, CONFIG, sample_rate=RATE))


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_even_the_shortest_makes_a_sound(frames):
    sound = sound_of(torch.zeros(2, 100, frames), CONFIG, sample_rate=RATE)
    assert sound.shape == (2, 1, frames * 160) and sound.isfinite().all()


def test_magnitudes_that_fit_the_mels_are_found_and_none_is_negative():
    filters = mel_filters(RATE, window=640, num_mels=100)
    mels = filters @ torch.rand(1, 321, 5, generator=torch.Generator().manual_seed(0))
    found = unfiltered(mels, filters)
    assert (found >= 0).all()
    assert (filters @ found - mels).norm() < 0.01 * mels.norm()


def test_phases_become_those_of_a_signal():
    """Inconsistency: how far the spectra of the sound are from the magnitudes asked for."""
    tone = _harmonics(200, 0.5)[0]
    hann = torch.hann_window(640)
    wanted = torch.stft(tone, 640, 160, window=hann, pad_mode="constant", return_complex=True).abs()
    found = griffin_lim(wanted, window=640, hop=160)
    got = torch.stft(found, 640, 160, window=hann, pad_mode="constant", return_complex=True).abs()
    assert found.shape == (1, 8000) and (got - wanted).norm() < 0.1 * wanted.norm()
