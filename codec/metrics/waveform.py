"""Scores of sound that need nothing but the two waveforms, and the panel of all sound scores."""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import ArrayLike

from codec.metrics.alignment import align, as_rows
from codec.metrics.perceptual import pesq, stoi, visqol
from codec.metrics.score import Score, mean_score

_SILENT = 1e-10  # mean square below which there is nothing to compare with
_FLOOR = 1e-8  # power, 80 dB below full scale
_STFT_S = (0.016, 0.032, 0.064)


def si_sdr(reference: ArrayLike, estimate: ArrayLike) -> Score:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019, eq. 3), mean over channels.

    Args:
        reference: `[time]` or `[c, time]`, aligned with `estimate` and as long.
    """
    return mean_score(_si_sdr(a, b) for a, b in _pairs(reference, estimate))


def _si_sdr(reference: np.ndarray, estimate: np.ndarray) -> Score:
    reference = reference - reference.mean()
    estimate = estimate - estimate.mean()
    energy = float(reference @ reference)
    if energy / len(reference) < _SILENT:
        return Score(None, "the reference is silent")
    target = (float(estimate @ reference) / energy) * reference
    distortion = float(((estimate - target) ** 2).sum())
    signal = float(target @ target)
    if signal <= 0:
        return Score(None, "the estimate is silent")
    return Score(10 * math.log10(signal / distortion) if distortion > signal * 1e-15 else math.inf)


def mel_distance(reference: ArrayLike, estimate: ArrayLike, *, sample_rate: int) -> Score:
    """Mean absolute difference in dB between 80-band mel power spectrograms; 0 is perfect.

    Windows of 64 ms every 16 ms; everything more than 80 dB below full scale counts as that floor, so silence
    against silence is 0. Mean over channels.
    """
    return mean_score(
        Score(float((_mel_db(a, sample_rate) - _mel_db(b, sample_rate)).abs().mean()))
        for a, b in _pairs(reference, estimate)
    )


def _mel_db(row: np.ndarray, sample_rate: int) -> torch.Tensor:
    size = max(16, round(0.064 * sample_rate))
    return 10 * torch.log10((_mel_bank(size // 2 + 1, sample_rate).T @ _power(row, size)).clamp_min(_FLOOR))


def stft_distance(reference: ArrayLike, estimate: ArrayLike, *, sample_rate: int) -> Score:
    """Mean absolute difference in dB between spectrograms, mean over three resolutions; 0 is perfect.

    Windows of 16, 32 and 64 ms, each every quarter of it; the floor is that of `mel_distance`. Mean over channels.
    """
    return mean_score(
        Score(sum(_stft_difference(a, b, max(16, round(length * sample_rate))) for length in _STFT_S) / len(_STFT_S))
        for a, b in _pairs(reference, estimate)
    )


def _stft_difference(reference: np.ndarray, estimate: np.ndarray, size: int) -> float:
    power_a, power_b = (_power(row, size).clamp_min(_FLOOR) for row in (reference, estimate))
    return float((10 * torch.log10(power_a / power_b)).abs().mean())


def _power(row: np.ndarray, size: int) -> torch.Tensor:
    """Power spectrogram `[size // 2 + 1, frames]` of Hann windows every quarter of `size`; a full-scale sine is 1/4."""
    signal = torch.from_numpy(np.ascontiguousarray(row)).float()
    if len(signal) < size:
        signal = torch.nn.functional.pad(signal, (0, size - len(signal)))
    window = torch.hann_window(size)
    spectrum = torch.stft(signal, size, size // 4, window=window, center=False, return_complex=True)
    return (spectrum.abs() / window.sum()) ** 2


@lru_cache(maxsize=8)
def _mel_bank(bins: int, sample_rate: int) -> torch.Tensor:
    """Triangular bands `[bins, 80]`, evenly spaced on the mel scale from 0 Hz to half the sample rate."""
    top = 2595 * math.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, 82) / 2595) - 1)
    frequencies = torch.linspace(0, sample_rate / 2, bins)[:, None]
    # A band narrower than a bin would hold no bin at all: give every slope at least one bin.
    width = (edges[1:] - edges[:-1]).clamp_min(sample_rate / 2 / (bins - 1))
    rising = 1 - (edges[1:-1] - frequencies) / width[:-1]
    falling = 1 - (frequencies - edges[1:-1]) / width[1:]
    return torch.minimum(rising, falling).clamp(0, 1)


def score_audio(
    reference: ArrayLike,
    estimate: ArrayLike,
    *,
    sample_rate: int,
    metrics: Collection[str] = ("pesq", "stoi", "visqol", "si_sdr", "mel_distance", "stft_distance"),
) -> dict[str, Score]:
    """Every named score of `estimate` against `reference`, `[c, time]` at `sample_rate`, once aligned."""
    pair = align(reference, estimate, sample_rate=sample_rate)
    panel = {
        "pesq": lambda: pesq(pair.reference, pair.estimate, sample_rate=sample_rate),
        "stoi": lambda: stoi(pair.reference, pair.estimate, sample_rate=sample_rate),
        "visqol": lambda: visqol(pair.reference, pair.estimate, sample_rate=sample_rate),
        "si_sdr": lambda: si_sdr(pair.reference, pair.estimate),
        "mel_distance": lambda: mel_distance(pair.reference, pair.estimate, sample_rate=sample_rate),
        "stft_distance": lambda: stft_distance(pair.reference, pair.estimate, sample_rate=sample_rate),
    }
    return {name: panel[name]() for name in metrics}


def _pairs(reference: ArrayLike, estimate: ArrayLike) -> list[tuple[np.ndarray, np.ndarray]]:
    ours, theirs = as_rows(reference), as_rows(estimate)
    if ours.shape != theirs.shape:
        raise ValueError(f"reference is {ours.shape} and estimate {theirs.shape}; align them first")
    return list(zip(ours, theirs, strict=True))
