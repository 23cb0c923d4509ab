"""Features of speech against librosa's, and what normalising, masks and warping do to them."""

import librosa
import numpy as np
import pytest
import scipy.fft
import torch

from codec.nn.features import DELTA_REACH, Features, LogMelConfig, MfccConfig

RATE = 16000


def _speech(seconds=0.5, *, rows=1):
    time = torch.arange(int(seconds * RATE)) / RATE
    noise = torch.randn(rows, 1, len(time), generator=torch.Generator().manual_seed(0))
    return 0.2 * torch.sin(2 * torch.pi * (150 + 900 * time) * time) + 0.05 * noise


def _reference_mels(signal, config):
    """Log mel magnitudes, frame after frame."""
    filters = librosa.filters.mel(sr=RATE, n_fft=config.window, n_mels=config.num_mels)
    hop, window = config.hop_length, config.window
    hann = np.hanning(window + 1)[:-1]
    padded = np.concatenate((np.zeros(window), signal, np.zeros(window)))
    frames = []
    for index in range(len(signal) // hop):
        centre = index * hop + hop // 2
        piece = padded[window + centre - window // 2 :][:window] * hann
        frames.append(np.log(np.maximum(filters @ np.abs(np.fft.rfft(piece)), 1e-3)))
    return np.array(frames).T


def test_log_mels_are_those_of_frames_centred_on_their_hops():
    config, speech = LogMelConfig(normalise=False), _speech()
    expected = _reference_mels(speech[0, 0].numpy(), config)
    found = Features(config, sample_rate=RATE)(speech)[0].numpy()
    assert found.shape == (80, 50)
    np.testing.assert_allclose(found, expected, atol=1e-3)  # float32 spectra near the floor


def test_cepstra_are_the_cosine_transform_of_log_mels_and_deltas_their_slopes():
    config, speech = MfccConfig(normalise=False, deltas=1), _speech()
    mels = _reference_mels(speech[0, 0].numpy(), config)
    cepstra = np.asarray(scipy.fft.dct(mels, axis=0, norm="ortho"))[: config.num_coefficients]
    found = Features(config, sample_rate=RATE)(speech)[0].numpy()
    np.testing.assert_allclose(found[:13], cepstra, atol=1e-2)
    reach = np.arange(-DELTA_REACH, DELTA_REACH + 1)
    slope = np.polyfit(reach, cepstra[:, 18:23].T, 1)[0]
    np.testing.assert_allclose(found[13:, 20], slope, atol=1e-2)


def test_a_louder_recording_has_the_same_normalised_features():
    features, speech = Features(LogMelConfig(), sample_rate=RATE), _speech()
    torch.testing.assert_close(features(40 * speech), features(20 * speech), atol=2e-3, rtol=0)  # all above the floor
    found = features(speech)
    torch.testing.assert_close(found.mean(2), torch.zeros(1, 80), atol=1e-4, rtol=0)


def test_padding_counts_for_nothing():
    features, speech = Features(LogMelConfig(), sample_rate=RATE), _speech()
    padded = torch.nn.functional.pad(speech, (0, 3200))
    mask = torch.arange(padded.shape[2])[None] < speech.shape[2]
    found = features(padded, mask)
    assert not found[..., 50:].any()
    torch.testing.assert_close(found[..., :48], features(speech)[..., :48], atol=0.02, rtol=0)  # but for the last edge


@pytest.mark.parametrize("warp", [0.9, 1.1])
def test_warping_moves_a_tone_by_its_factor(warp):
    time = torch.arange(RATE) / RATE
    features = Features(LogMelConfig(normalise=False), sample_rate=RATE)
    tone = torch.sin(2 * torch.pi * 2000 * time)[None, None]
    moved = torch.sin(2 * torch.pi * 2000 * warp * time)[None, None]
    peak = features(tone, warp=torch.tensor([warp]))[0, :, 50].argmax()
    assert peak == features(moved)[0, :, 50].argmax()


def test_a_warp_of_one_changes_nothing():
    features, speech = Features(MfccConfig(), sample_rate=RATE), _speech(rows=2)
    assert torch.equal(features(speech, warp=torch.ones(2)), features(speech))


def test_less_than_a_hop_has_no_frame():
    assert Features(LogMelConfig(num_mels=20), sample_rate=16000)(torch.zeros(2, 1, 159)).shape == (2, 20, 0)
