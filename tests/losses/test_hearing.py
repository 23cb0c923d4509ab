"""Losses that stand for what people hear: they agree with the measures whose models they are."""

import numpy as np
import pytest
import torch

from codec.core.spectral import magnitude, real_spectrum
from codec.losses.intelligibility import IntelligibilityLoss
from codec.losses.loudness import LoudnessLoss
from codec.losses.quiet import QUIETEST_SPEECH_DB, quietest_power
from codec.losses.spectral import ComplexSpectrumLoss
from tests.metrics.signals import noisy, voice

RATE = 16000
LOSSES = [LoudnessLoss(RATE), IntelligibilityLoss(RATE), ComplexSpectrumLoss()]


def _tensor(signal: np.ndarray) -> torch.Tensor:
    return torch.tensor(signal, dtype=torch.float32)[None, None]


@pytest.mark.parametrize(("window", "hop"), [(64, 16), (50, 12), (51, 20), (16, 16), (8, 12)])
@pytest.mark.parametrize("size", [1, 30, 201])
def test_magnitudes_and_their_gradient_are_those_of_torchs_stft(window, hop, size):
    signal = torch.randn(2, 3, size, requires_grad=True)
    twin = signal.detach().clone().requires_grad_()
    stft = torch.stft(
        twin.flatten(0, 1), window, hop, window=torch.hann_window(window), pad_mode="constant", return_complex=True
    )
    wanted = stft.abs().clamp_min(1e-6).unflatten(0, (2, 3))
    got = magnitude(signal, window=window, hop=hop)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
    weights = torch.randn_like(wanted)
    (got * weights).sum().backward()
    (wanted * weights).sum().backward()
    torch.testing.assert_close(signal.grad, twin.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("window", [1, 2, 7, 16])
def test_spectra_and_their_gradient_are_those_of_torchs_transform(window):
    frames = torch.randn(3, 4, window, dtype=torch.float64, requires_grad=True)
    twin = frames.detach().clone().requires_grad_()
    got, wanted = real_spectrum(frames), torch.view_as_real(torch.fft.rfft(twin))
    torch.testing.assert_close(got, wanted)
    weights = torch.randn_like(wanted)
    (got * weights).sum().backward()
    (wanted * weights).sum().backward()
    torch.testing.assert_close(frames.grad, twin.grad)


def test_silence_has_no_gradient_and_no_nan():
    silence = torch.zeros(1, 1, 4000, requires_grad=True)
    for loss in LOSSES:
        loss(silence, _tensor(voice(0.25))).backward()
        loss(_tensor(voice(0.25)), torch.zeros(1, 1, 4000))
    assert silence.grad is not None and bool(silence.grad.isfinite().all())
    magnitude(silence, window=64, hop=16).sum().backward()


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_more_noise_costs_more_and_padding_is_invisible(loss):
    speech = voice(1.0)
    costs = [loss(_tensor(noisy(speech, snr_db)), _tensor(speech)).item() for snr_db in (40, 20, 10, 0)]
    assert costs == sorted(costs) and costs[0] < 0.5 * costs[-1]
    assert loss(_tensor(speech), _tensor(speech)).item() < 0.01 * costs[-1]
    mask = torch.arange(len(speech))[None] < 12000
    disturbed = _tensor(noisy(speech, 10))
    disturbed[..., 12000:] = 3
    target = _tensor(speech) * mask
    assert loss(disturbed, target, mask).item() == loss(disturbed * mask, target).item()


@pytest.mark.parametrize("snr_db", [30, 10, 5])
def test_intelligibility_is_one_minus_stoi(snr_db):
    pystoi = pytest.importorskip("pystoi")
    speech = voice(3.0)
    disturbed = noisy(speech, snr_db)
    wanted = 1 - pystoi.stoi(speech, disturbed, RATE)
    got = IntelligibilityLoss(RATE)(_tensor(disturbed), _tensor(speech)).item()
    assert got == pytest.approx(wanted, abs=0.05)  # it keeps quiet frames, and bands have other edges at 16 kHz


def test_intelligibility_does_not_hear_a_gain():
    speech = voice(1.0)
    assert IntelligibilityLoss(RATE)(_tensor(0.2 * speech), _tensor(speech)).item() < 1e-3


def test_loudness_ranks_distortions_much_as_pesq_does():
    pesq = pytest.importorskip("pesq")
    speech = voice(3.0)
    smoothed = [np.convolve(speech, np.ones(size) / size, "same") for size in (4, 12)]
    disturbed = [*smoothed, *(noisy(speech, snr_db) for snr_db in (40, 30, 20, 10))]
    scores = [pesq.pesq(RATE, speech, other, "wb") for other in disturbed]
    costs = [LoudnessLoss(RATE)(_tensor(other), _tensor(speech)).item() for other in disturbed]
    ranks = [torch.tensor(values).argsort().argsort().double() for values in (scores, costs)]
    assert torch.corrcoef(torch.stack(ranks))[0, 1].item() < -0.6


def test_what_is_added_costs_more_than_what_is_missing():
    speech = voice(1.0)
    time = np.arange(len(speech)) / RATE
    tone = 0.02 * np.sin(2 * np.pi * 3000 * time)
    loss = LoudnessLoss(RATE)
    added, missing = loss(_tensor(speech + tone), _tensor(speech)), loss(_tensor(speech), _tensor(speech + tone))
    assert added.item() > 1.1 * missing.item()


def test_only_the_complex_loss_hears_phase():
    speech = voice(1.0)
    inverted = _tensor(-speech)
    assert ComplexSpectrumLoss()(inverted, _tensor(speech)).item() > 0.1
    for loss in (LoudnessLoss(RATE), IntelligibilityLoss(RATE)):
        assert loss(inverted, _tensor(speech)).item() < 2e-3


@pytest.mark.parametrize("loss", [LoudnessLoss(RATE), IntelligibilityLoss(RATE)], ids=lambda loss: type(loss).__name__)
def test_a_pause_is_not_judged_as_if_it_were_speech(loss):
    rng = np.random.default_rng(3)
    hiss, other = (_tensor(10 ** (-75 / 20) * rng.standard_normal(RATE)) for _ in range(2))
    quiet_speech = _tensor(10 ** (-50 / 20) * voice(1.0) / voice(1.0).std())
    speech = _tensor(voice(1.0))
    heard = loss(speech + 30 * other, speech) - loss(speech, speech)
    assert loss(torch.cat((speech, other)), torch.cat((speech, hiss))) <= loss(speech, speech) + 0.1 * heard
    assert loss(quiet_speech * 0.5 + 10 * other, quiet_speech).item() > 0.05


def test_where_nobody_speaks_nothing_is_unintelligible():
    hiss = _tensor(1e-4 * np.random.default_rng(0).standard_normal(RATE))
    assert IntelligibilityLoss(RATE)(hiss, hiss).item() == IntelligibilityLoss(RATE)(0 * hiss, hiss).item() == 0


def test_the_quietest_speech_has_the_power_of_noise_at_its_level():
    noise = 10 ** (QUIETEST_SPEECH_DB / 20) * torch.randn(400 * RATE // 100, generator=torch.Generator().manual_seed(0))
    power = magnitude(noise, window=512, hop=256).square().sum(0).mean()
    assert quietest_power(512) == pytest.approx(power.item(), rel=0.1)
