"""Spectra as the losses, metrics and pictures of the toolkit see them."""

from __future__ import annotations

import librosa
import torch
from torch import Tensor


def magnitude(signal: Tensor, *, window: int, hop: int) -> Tensor:
    """Magnitude spectrogram of `signal` `[..., time]`: `[..., window // 2 + 1, frames]`, Hann, float32.

    Signals shorter than half a window are padded with silence; the edges are not reflected, so silence stays silent.
    """
    flat = signal.float().reshape(-1, signal.shape[-1])
    hann = torch.hann_window(window, device=signal.device)
    spectrum = torch.stft(flat, window, hop, window=hann, pad_mode="constant", return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()
    return power.clamp_min(1e-12).sqrt().reshape(*signal.shape[:-1], *spectrum.shape[-2:])


def mel_filters(sample_rate: int, *, window: int, num_mels: int) -> Tensor:
    """Slaney-normalised mel filterbank `[num_mels, window // 2 + 1]` from 0 Hz to half of `sample_rate` (Hz)."""
    return torch.tensor(librosa.filters.mel(sr=sample_rate, n_fft=window, n_mels=num_mels))
