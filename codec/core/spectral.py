"""Spectra as the losses, metrics and pictures of the toolkit see them."""

from __future__ import annotations

from typing import Any

import librosa
import torch
from torch import Tensor, nn

FLOOR = 1e-6


def real_spectrum(frames: Tensor) -> Tensor:
    """Spectra of real `frames` `[..., window]` as real and imaginary part, `[..., window // 2 + 1, 2]`.

    Its gradient is one inverse real transform, where torch's own is a complex one, and has itself none.
    """
    return _RealSpectrum.apply(frames)


class _RealSpectrum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, frames: Tensor) -> Tensor:
        ctx.window = frames.shape[-1]
        return torch.view_as_real(torch.fft.rfft(frames))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _adjoint(torch.view_as_complex(gradients[0].contiguous()).clone(), ctx.window)


def _adjoint(spectra: Tensor, window: int) -> Tensor:
    """Frames `[..., window]` to which the transposed real transform takes `spectra` `[..., bins]`, which it changes."""
    spectra[..., 1 : (window + 1) // 2] *= 0.5  # each of these stands for two of the whole spectrum
    return torch.fft.irfft(spectra, window, norm="forward")


def magnitude(signal: Tensor, *, window: int, hop: int) -> Tensor:
    """Magnitude spectrogram of `signal` `[..., time]`: `[..., window // 2 + 1, frames]`, Hann, float32.

    Frame i is centred on sample i x hop. Outside the signal there is silence, so silence stays silent. Its gradient is
    one inverse transform and an overlap-add, and has itself none.
    """
    flat = signal.float().reshape(-1, signal.shape[-1])
    return _Magnitude.apply(flat, window, hop).reshape(*signal.shape[:-1], window // 2 + 1, -1)


class _Magnitude(torch.autograd.Function):
    """|z| of the spectrum z of each windowed frame; the derivative of |z| is taken as 0 where it is under the floor."""

    @staticmethod
    def forward(ctx: Any, signal: Tensor, window: int, hop: int) -> Tensor:
        hann = torch.hann_window(window, device=signal.device)
        frames = nn.functional.pad(signal, (window // 2, window // 2)).unfold(-1, window, hop) * hann
        spectrum = torch.fft.rfft(frames)
        real, imaginary = torch.view_as_real(spectrum).unbind(-1)
        size = (real * real).addcmul_(imaginary, imaginary).sqrt_().clamp_min_(FLOOR)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(spectrum, size, hann)
            ctx.hop, ctx.num_samples = hop, signal.shape[-1]
        return size.transpose(-1, -2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        spectrum, size, hann = ctx.saved_tensors
        pull = gradients[0].transpose(-1, -2) / size.masked_fill(size <= FLOOR, torch.inf)
        frames = _adjoint(spectrum * pull, len(hann)) * hann
        return _samples(frames, ctx.hop, start=len(hann) // 2, size=ctx.num_samples), None, None


def _samples(frames: Tensor, hop: int, *, start: int, size: int) -> Tensor:
    """Samples from `start` on `[n, size]` of the sum of `frames` `[n, frames, window]` that lie `hop` apart."""
    pieces = nn.functional.pad(frames, (0, -frames.shape[-1] % hop)).unflatten(-1, (-1, hop))
    covered = overlap_add(pieces)[:, start : start + size]
    return nn.functional.pad(covered, (0, size - covered.shape[-1]))


def overlap_add(pieces: Tensor) -> Tensor:
    """The sum of frames, each cut into n pieces and one piece later than the one before it.

    Shapes: `[..., frames, n, hop]` to `[..., (frames + n - 1) * hop]`.
    """
    *batch, frames, overlaps, hop = pieces.shape
    total = pieces.new_zeros(*batch, frames + overlaps - 1, hop)
    for index in range(overlaps):
        total[..., index : index + frames, :] += pieces[..., index, :]
    return total.flatten(-2)


def mel_filters(sample_rate: int, *, window: int, num_mels: int) -> Tensor:
    """Slaney-normalised mel filterbank `[num_mels, window // 2 + 1]` from 0 Hz to half of `sample_rate` (Hz)."""
    return torch.tensor(librosa.filters.mel(sr=sample_rate, n_fft=window, n_mels=num_mels))
