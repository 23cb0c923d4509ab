"""What a training example of sound may go through so that a model hears more than the corpus holds."""

from __future__ import annotations

import torch
from torch import Tensor

PIVOT_HZ = 1000.0
LOWEST_HZ = 50.0


def tilted(signal: Tensor, *, db_per_octave: float, sample_rate: int) -> Tensor:
    """`signal` `[c, time]` with a spectrum that rises by so many decibels per octave; at 1 kHz it stays.

    Microphones, rooms and lossy codecs differ by such slopes first of all. Without a change of phase; below 50 Hz the
    slope is level. `sample_rate` in Hz.
    """
    frequencies = torch.fft.rfftfreq(signal.shape[-1], 1 / sample_rate).clamp_min(LOWEST_HZ)
    gain = 10 ** (db_per_octave * (frequencies / PIVOT_HZ).log2() / 20)
    return torch.fft.irfft(torch.fft.rfft(signal) * gain, signal.shape[-1])


def mixed(signal: Tensor, other: Tensor, *, level_db: float) -> Tensor:
    """`signal` `[c, time]` with `other`, brought to `level_db` decibels over it by their root mean squares, added."""
    loudness, others = signal.square().mean().sqrt(), other.square().mean().sqrt()
    return signal + other * (loudness / others.clamp_min(1e-6) * 10 ** (level_db / 20))


def within_full_scale(signal: Tensor) -> Tensor:
    """`signal` made quieter if need be, so that no sample is beyond -1 or 1."""
    return signal / signal.abs().amax().clamp_min(1.0)
