"""Frames of sound: the spectra are those of windows at their places, and true spectra turn back into the sound."""

import librosa
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from codec.core.overlap import Span
from codec.nn.build import WaveformBackend, build_backend
from codec.nn.convnext import ConvNeXtBlock
from codec.nn.frames import COMPRESSION, InverseFrames, SpectrumFrames
from codec.nn.spectral import SpectralBackend

BACKENDS = st.builds(
    lambda hop, spectra, overlap, encoder, decoder, kernel, causal, transform: SpectralBackend(
        hop_length=hop * spectra,
        window=hop * max(spectra, overlap),
        spectra_per_code=spectra,
        width=4,
        encoder=encoder,
        decoder=decoder,
        kernel=kernel,
        causal=causal,
        transform=transform,
        envelope_latents=2 if transform else 0,
        compression=0.5 if transform else 0.3,
    ),
    hop=st.sampled_from([2, 4, 6]),
    spectra=st.integers(1, 3),
    overlap=st.integers(2, 4),
    encoder=st.lists(st.integers(1, 3), min_size=1, max_size=2),
    decoder=st.lists(st.integers(1, 3), min_size=1, max_size=2),
    kernel=st.sampled_from([1, 3, 4]),
    causal=st.booleans(),
    transform=st.booleans(),
)


@pytest.mark.parametrize("causal", [False, True])
def test_a_frame_is_the_compressed_spectrum_of_the_samples_that_it_says(causal):
    frames = SpectrumFrames(hop=8, window=20, channels=2, causal=causal)
    signal = torch.randn(1, 2, 64)
    features = frames(signal)[0].unflatten(0, (2, 2, 11))
    span = frames.input_span(Span(3, 4))
    assert (span.stop == 32) == causal and span.stop - span.start == 20
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(20) / 20)
    for channel in range(2):
        spectrum = np.fft.rfft(signal[0, channel, span.start : span.stop].numpy() * hann)
        wanted = np.abs(spectrum) ** COMPRESSION * np.exp(1j * np.angle(spectrum))
        got = features[channel, 0, :, 3].numpy() + 1j * features[channel, 1, :, 3].numpy()
        np.testing.assert_allclose(got, wanted, atol=1e-3)  # the compression's floor


@pytest.mark.parametrize("compression", [COMPRESSION, 0.5, 1.0])
@pytest.mark.parametrize("per_frame", [1, 2])
@pytest.mark.parametrize("causal", [False, True])
def test_true_spectra_turn_back_into_the_sound(causal, per_frame, compression):
    hop, window = 8, 32
    inverse = InverseFrames(
        hop=hop, window=window, channels=1, per_frame=per_frame, causal=causal, compression=compression
    ).double()
    signal = torch.randn(1, 1, 128, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    left = 0 if causal else (window - hop) // 2
    padded = torch.nn.functional.pad(signal, (left, window - hop - left))
    hann = torch.hann_window(window, dtype=torch.float64)
    spectra = torch.fft.rfft(padded.unfold(-1, window, hop) * hann)[0, 0]
    compressed = spectra * spectra.abs() ** (compression - 1)
    parts = torch.stack((compressed.real, compressed.imag), 1)  # [spectra, 2, bins]
    features = parts.unflatten(0, (-1, per_frame)).flatten(1).t()[None]
    inside = slice(window, 128 - window)
    # windows are float32
    torch.testing.assert_close(inverse(features)[..., inside], signal[..., inside], rtol=0, atol=1e-6)
    torch.testing.assert_close(inverse.features(signal), features, rtol=1e-3, atol=1e-3)  # the compression's floor


def test_mel_magnitudes_follow_the_spectra_of_all_channels():
    frames = SpectrumFrames(hop=80, window=160, channels=2, num_mels=5, sample_rate=8000)
    signal = torch.randn(1, 2, 800)
    features = frames(signal)[0]
    span = frames.input_span(Span(4, 5))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(160) / 160)
    spectrum = np.abs(np.fft.rfft(signal[0, :, span.start : span.stop].numpy() * hann))
    wanted = (spectrum @ librosa.filters.mel(sr=8000, n_fft=160, n_mels=5).T) ** 0.3
    np.testing.assert_allclose(features[-10:, 4].view(2, 5).numpy(), wanted, rtol=1e-3)
    assert features.shape == (frames.num_features, 10)
    assert torch.equal(features[:-10], SpectrumFrames(hop=80, window=160, channels=2)(signal)[0])


def test_silence_has_a_gradient():
    inverse = InverseFrames(hop=8, window=16, channels=1, compression=0.5)
    features = torch.zeros(1, inverse.num_features, 4, requires_grad=True)
    (inverse(features) - 1).square().sum().backward()
    assert features.grad is not None and features.grad.isfinite().all()


def _touched(network: torch.nn.Module, signal: torch.Tensor, output: slice) -> Span:
    signal = signal.double().requires_grad_()
    network.double()(signal)[..., output].square().sum().backward()
    assert signal.grad is not None
    nonzero = signal.grad.abs().sum((0, 1)).nonzero()
    assume(len(nonzero))  # the first sample of a Hann window is nobody's
    return Span(int(nonzero.min()), int(nonzero.max()) + 1)


@settings(max_examples=30, deadline=None)
@given(config=BACKENDS, position=st.integers(0, 200))
def test_backends_depend_on_what_they_say_and_causal_ones_on_nothing_later(config, position):
    torch.manual_seed(0)
    encoder, decoder = build_backend(config, channels=1, latent_dim=3, sample_rate=8000)
    codes, hop = 40, config.hop_length
    frame = position % codes
    said = encoder.input_span(Span(frame, frame + 1)).clipped(codes * hop)
    touched = _touched(encoder, torch.randn(1, 1, codes * hop), slice(frame, frame + 1))
    assert said.start <= touched.start and touched.stop <= said.stop
    sample = position % (codes * hop)
    kept = decoder.input_span(Span(sample, sample + 1)).clipped(codes)
    used = _touched(decoder, torch.randn(1, 3, codes), slice(sample, sample + 1))
    assert kept.start <= used.start and used.stop <= kept.stop
    if config.causal:
        assert said.stop == (frame + 1) * hop and kept.stop == sample // hop + 1


def test_a_block_starts_close_to_the_identity_and_keeps_the_shape():
    block = ConvNeXtBlock(16, kernel=7, dilation=3)
    frames = torch.randn(2, 16, 40)
    outputs = block(frames)
    assert outputs.shape == frames.shape
    assert float((outputs - frames).square().mean()) < 0.05


def test_spectra_that_do_not_overlap_evenly_are_refused():
    for wrong in ({"window": 500}, {"spectra_per_code": 3}, {"window": 160}, {"hop_length": 320, "window": 320}):
        with pytest.raises(ValueError, match=r"window|spectra"):
            SpectralBackend.model_validate({"hop_length": 320, "window": 640, "spectra_per_code": 1} | wrong)
    with pytest.raises(ValueError, match="multiple of its hop"):
        InverseFrames(hop=3, window=10, channels=1)


def test_waveform_backends_whose_strides_disagree_are_refused():
    stage = {"stride": 4, "width": 4}
    config = WaveformBackend.model_validate({"encoder": {"stages": [stage]}, "decoder": {"stages": [stage, stage]}})
    with pytest.raises(ValueError, match="strides agree"):
        build_backend(config, channels=1, latent_dim=2, sample_rate=8000)
