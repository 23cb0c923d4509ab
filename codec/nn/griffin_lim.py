"""Sound from magnitudes alone: phases are found that fit them best."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.core.precision import float32_island
from codec.core.spectral import mel_filters
from codec.nn.features import FLOOR, LogMelConfig

ITERATIONS = 60
MOMENTUM = 0.99
REFINEMENTS = 30
LEAST = 1e-8  # of a magnitude: no division by zero


def sound_of(log_mel: Tensor, config: LogMelConfig, *, sample_rate: int) -> Tensor:
    """Sound `[b, 1, frames * hop_length]` whose log mel magnitudes are near `log_mel` `[b, num_mels, frames]`.

    Frames are those of `Features`, not normalised; what lies at its floor is silence.
    """
    with float32_island(log_mel.device.type):
        filters = mel_filters(sample_rate, window=config.window, num_mels=config.num_mels).to(log_mel.device)
        magnitudes = unfiltered((log_mel.float().exp() - FLOOR).clamp_min(0), filters)
        hop = config.hop_length
        edges = F.pad(magnitudes, (1, 1), mode="replicate")  # so that windows cover the first and the last samples
        signal = griffin_lim(edges, window=config.window, hop=hop)
        return signal[:, None, hop - hop // 2 :][..., : log_mel.shape[2] * hop]


def unfiltered(mels: Tensor, filters: Tensor) -> Tensor:
    """Magnitudes `[b, bins, frames]`, none negative, that `filters` `[num_mels, bins]` take to about `mels`.

    The least squares solution, then multiplicative updates towards the best that is not negative (Lee & Seung 2001).
    """
    found = (torch.linalg.pinv(filters) @ mels).clamp_min(LEAST)
    wanted, gram = filters.T @ mels, filters.T @ filters
    for _ in range(REFINEMENTS):
        found = found * wanted / (gram @ found).clamp_min(LEAST)
    return found


def griffin_lim(magnitudes: Tensor, *, window: int, hop: int) -> Tensor:
    """Signal `[b, (frames - 1) * hop]` whose short-time spectra nearly have `magnitudes` `[b, bins, frames]`.

    Frame i is centred on sample i x hop, Hann. Griffin & Lim 1984, with the momentum of Perraudin et al. 2013
    (algorithm 2). The first phases are random, and always the same.
    """
    hann = torch.hann_window(window, device=magnitudes.device)
    angles = 2 * math.pi * torch.rand(magnitudes.shape, generator=torch.Generator().manual_seed(0))
    phases = torch.polar(torch.ones_like(angles), angles).to(magnitudes.device)
    before = torch.zeros_like(phases)
    for _ in range(ITERATIONS):
        signal = torch.istft(magnitudes * phases, window, hop, window=hann)
        fitting = torch.stft(signal, window, hop, window=hann, pad_mode="constant", return_complex=True)
        ahead = fitting + MOMENTUM * (fitting - before)
        phases, before = ahead / ahead.abs().clamp_min(LEAST), fitting
    return torch.istft(magnitudes * phases, window, hop, window=hann)
