"""The transform beside the networks is the best linear one, and training starts from it alone."""

import numpy as np
import pytest
import torch

from codec.nn.build import build_backend
from codec.nn.principal import ENVELOPE_POWER, Beside, find_transform
from codec.nn.spectral import SpectralBackend

RATE = 8000


def _backend(latent_dim, **changes):
    torch.manual_seed(0)
    config = SpectralBackend(
        hop_length=16, window=32, width=8, encoder=(1,), decoder=(1,), compression=1.0, transform=True, **changes
    )
    return build_backend(config, channels=1, latent_dim=latent_dim, sample_rate=RATE)


def _voices(number=6, samples=1600):
    """Hums of a few partials, each row another pitch."""
    time = torch.arange(samples) / RATE
    pitch = 110 * 2 ** (torch.arange(number) / 12)[:, None]
    partials = [torch.sin(2 * torch.pi * k * pitch * time + k) / k for k in range(1, 8)]
    return torch.stack(partials).sum(0)[:, None] / 4


def _error(encoder, decoder, signal):
    with torch.no_grad():
        return float((decoder(encoder(signal)) - signal).square().mean() / signal.square().mean())


def test_latents_are_the_principal_components_of_the_spectra():
    encoder, decoder = _backend(5)
    signal = _voices()
    find_transform(encoder, decoder, [signal[:3], signal[3:]])
    with torch.no_grad():
        latents = encoder(signal).transpose(1, 2).flatten(0, 1).double().numpy()
        spectra = encoder[0](signal).transpose(1, 2).flatten(0, 1).double().numpy()
    powers = (latents**2).mean(0)
    of_spectra = np.linalg.svd(spectra, compute_uv=False)[:5] ** 2
    np.testing.assert_allclose(powers / powers.sum(), of_spectra / of_spectra.sum(), rtol=1e-3)
    assert powers.mean() == pytest.approx(1, rel=1e-3)
    moments = latents.T @ latents / len(latents)
    assert np.abs(moments - np.diag(powers)).max() < 1e-3  # they do not correlate


def test_more_latents_are_closer_and_enough_of_them_exact():
    signal = _voices()
    errors = []
    for latent_dim in (2, 8, 34):
        encoder, decoder = _backend(latent_dim)
        before = _error(encoder, decoder, signal)
        find_transform(encoder, decoder, [signal])
        errors.append(_error(encoder, decoder, signal))
        assert errors[-1] < before
    assert errors[0] > errors[1] > errors[2] and errors[2] < 1e-3


def test_networks_add_nothing_at_first_and_learn_all_the_same():
    encoder, decoder = _backend(4)
    signal = _voices()
    analysis = encoder[1]
    assert isinstance(analysis, Beside)
    with torch.no_grad():
        assert torch.equal(encoder(signal), analysis.linear(encoder[0](signal)))
    decoder(encoder(signal)).square().sum().backward()
    learnt = dict(analysis.network[-1].named_parameters())["weight"].grad
    assert learnt is not None and learnt.abs().sum() > 0


def test_envelopes_come_first_and_are_stronger():
    encoder, decoder = _backend(6, envelope_latents=2)
    signal = _voices() * torch.linspace(0.1, 1, 6)[:, None, None]
    find_transform(encoder, decoder, [signal], envelope_latents=2)
    with torch.no_grad():
        powers = encoder(signal).square().sum((0, 2))
        flipped = encoder(-signal)
    torch.testing.assert_close(flipped[:, :2], encoder(signal)[:, :2].detach())  # an envelope has no sign
    torch.testing.assert_close(flipped[:, 2:], -encoder(signal)[:, 2:].detach())
    assert float(powers[:2].sum() / powers[2:].sum()) == pytest.approx(ENVELOPE_POWER, rel=1e-2)


def test_padding_counts_for_nothing():
    signal = _voices()
    padded = torch.nn.functional.pad(signal, (0, 3 * signal.shape[2]))
    mask = torch.arange(padded.shape[2] // 16).expand(len(padded), -1) < signal.shape[2] // 16
    weights = []
    for signals, masks in (([signal], None), ([padded], [mask])):
        encoder, decoder = _backend(6, envelope_latents=2)
        find_transform(encoder, decoder, signals, masks=masks, envelope_latents=2)
        with torch.no_grad():
            weights.append(encoder(signal[..., :1504]).square().mean((0, 2)))
    torch.testing.assert_close(weights[1], weights[0], rtol=0.05, atol=0.01)  # the last window sees the padding


def test_envelopes_without_a_transform_are_refused():
    with pytest.raises(ValueError, match="transform=true"):
        SpectralBackend(envelope_latents=3)
