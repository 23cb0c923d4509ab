"""Losses against slow oracles, and what masks must hide."""

from functools import partial

import librosa
import numpy as np
import pytest
import torch

from codec.core.errors import UserError
from codec.losses import MelLoss, SpectralConvergence, build_losses, l1, mse
from codec.losses.spectral import MEL_FLOOR, MEL_SCALES, STFT_WINDOWS, ComplexSpectrumLoss

RATE = 16000


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(2, 1, 6000, generator=generator) * 0.1
    return target + 0.05 * torch.randn(2, 1, 6000, generator=generator), target


def _magnitudes(row: np.ndarray, window: int) -> np.ndarray:
    return np.abs(librosa.stft(row, n_fft=window, hop_length=window // 4, pad_mode="constant"))


def test_mel_loss_is_librosas_log_mel_difference(pair):
    differences = []
    for window, num_mels in MEL_SCALES:
        filters = librosa.filters.mel(sr=RATE, n_fft=window, n_mels=num_mels)
        mels = [
            np.stack(
                [np.log10(np.maximum(filters @ _magnitudes(row, window), MEL_FLOOR)) for row in signal[:, 0].numpy()]
            )
            for signal in pair
        ]
        differences.append(np.abs(mels[0] - mels[1]).mean())
    assert MelLoss(RATE)(*pair).item() == pytest.approx(np.mean(differences), rel=1e-4)  # float32 sums


def test_spectral_convergence_is_the_ratio_of_norms(pair):
    ratios = []
    for window in STFT_WINDOWS:
        got, wanted = (np.stack([_magnitudes(row, window) for row in s[:, 0].numpy()]) for s in pair)
        ratios.append(np.linalg.norm(wanted - got) / np.linalg.norm(wanted))
    assert SpectralConvergence()(*pair).item() == pytest.approx(np.mean(ratios), rel=1e-4)  # float32 sums


@pytest.mark.parametrize("loss", [mse, l1, MelLoss(RATE), SpectralConvergence()])
def test_equal_signals_cost_nothing_and_padding_is_invisible(loss, pair):
    reconstruction, target = pair
    assert loss(target, target).item() == 0.0
    mask = torch.ones(2, 6000, dtype=torch.bool)
    mask[1, 4000:] = False
    disturbed = reconstruction + 9.0 * ~mask.unsqueeze(1)
    assert torch.equal(loss(disturbed, target, mask), loss(reconstruction, target, mask))


@pytest.mark.parametrize("loss", [mse, l1])
def test_a_masked_mean_is_the_mean_over_what_is_real(loss, pair):
    reconstruction, target = pair
    mask = torch.zeros(2, 6000, dtype=torch.bool)
    mask[0, :100] = True
    expected = loss(reconstruction[:1, :, :100], target[:1, :, :100])
    torch.testing.assert_close(loss(reconstruction, target, mask), expected)


@pytest.mark.parametrize("loss", [mse, l1, MelLoss(RATE), SpectralConvergence()])
def test_an_all_padded_batch_is_zero_and_not_nan(loss, pair):
    assert loss(*pair, torch.zeros(2, 6000, dtype=torch.bool)).item() == 0.0


def test_silence_has_a_finite_gradient():
    reconstruction = torch.zeros(1, 1, 4096, requires_grad=True)
    (
        MelLoss(RATE)(reconstruction, torch.zeros(1, 1, 4096))
        + SpectralConvergence()(reconstruction, reconstruction.detach())
    ).backward()
    assert reconstruction.grad is not None and bool(torch.isfinite(reconstruction.grad).all())


def test_unknown_losses_and_sound_losses_on_pictures_are_refused():
    with pytest.raises(UserError, match="'mell'"):
        build_losses(["mell"], sample_rate=RATE)
    with pytest.raises(UserError, match="'mel'"):
        build_losses(["mse", "mel"])


@pytest.mark.parametrize("kind", [MelLoss, ComplexSpectrumLoss])
def test_a_sparse_loss_is_in_training_another_sample_of_the_same_mean_and_else_the_same(kind):
    make = partial(kind, RATE) if kind is MelLoss else kind
    dense, sparse = make(), make(sparse=True)
    torch.manual_seed(0)
    target = torch.randn(1, 1, 16000)
    reconstruction = target + 0.3 * torch.randn(1, 1, 16000)
    assert sparse.eval()(reconstruction, target) == dense(reconstruction, target)
    seen = torch.stack([sparse.train()(reconstruction, target) for _ in range(10)])
    assert seen.unique().numel() > 5
    assert seen.mean().item() == pytest.approx(dense(reconstruction, target).item(), rel=0.02)
    short = target[..., :700]
    assert sparse(short + 0.1, short).isfinite()
