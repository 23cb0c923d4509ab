"""Delay compensation: a codec may return its sound some samples late or early, and is not judged for that."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_TRUSTED = 0.25  # a waveform correlation below this is chance for speech: compare the loudness contours instead
_CONTOUR_STEP_S = 0.001


@dataclass(frozen=True)
class Alignment:
    """Two signals cut to what they share.

    Attributes:
        reference: `[c, time]`, float64.
        estimate: `[c, time]`, float64, as long as `reference`.
        delay: samples by which the estimate was late (negative: early).
    """

    reference: NDArray[np.float64]
    estimate: NDArray[np.float64]
    delay: int


def as_rows(signal: ArrayLike) -> NDArray[np.float64]:
    """`[time]` or `[c, time]`, tensor or array, as a float64 array `[c, time]`."""
    rows = np.asarray(signal, dtype=np.float64)
    if rows.ndim == 1:
        rows = rows[None]
    if rows.ndim != 2:
        raise ValueError(f"signal has shape {rows.shape}; wanted [time] or [channels, time]")
    return rows


def align(reference: ArrayLike, estimate: ArrayLike, *, sample_rate: int, max_delay_s: float = 0.1) -> Alignment:
    """Undo a constant delay of at most `max_delay_s` and cut both signals to the samples they share.

    The delay is the peak of the cross-correlation of the waveforms (summed over channels). Parametric codecs
    do not keep the waveform; where that peak is weak, the loudness contours are correlated instead, in steps
    of 1 ms. Silent signals are left in place.

    Raises:
        ValueError: the channel counts differ or a signal is empty.
    """
    ours, theirs = as_rows(reference), as_rows(estimate)
    if len(ours) != len(theirs):
        raise ValueError(f"reference has {len(ours)} channels and estimate {len(theirs)}; they must agree")
    if not ours.shape[1] or not theirs.shape[1]:
        raise ValueError("cannot align an empty signal")
    delay = _find_delay(ours, theirs, sample_rate, round(max_delay_s * sample_rate))
    first, second = max(0, -delay), max(0, delay)
    length = min(ours.shape[1] - first, theirs.shape[1] - second)
    return Alignment(ours[:, first : first + length], theirs[:, second : second + length], delay)


def _find_delay(ours: NDArray, theirs: NDArray, sample_rate: int, reach: int) -> int:
    reach = min(reach, ours.shape[1] - 1, theirs.shape[1] - 1)
    delay, strength = _peak_lag(ours, theirs, reach)
    if strength >= _TRUSTED or reach <= 0:
        return delay
    step = max(1, round(_CONTOUR_STEP_S * sample_rate))
    contours = [_contour(rows, step) for rows in (ours, theirs)]
    lag, strength = _peak_lag(contours[0], contours[1], min(reach // step, contours[0].shape[1] - 1))
    return lag * step if strength >= _TRUSTED else 0


def _peak_lag(ours: NDArray, theirs: NDArray, reach: int) -> tuple[int, float]:
    """Lag of the largest correlation within +-reach, and that correlation over the product of the norms."""
    norm = np.linalg.norm(ours) * np.linalg.norm(theirs)
    if reach < 0 or norm <= 1e-12:
        return 0, 0.0
    size = 1 << (max(ours.shape[1], theirs.shape[1]) + reach).bit_length()
    spectrum = (np.conj(np.fft.rfft(ours, size)) * np.fft.rfft(theirs, size)).sum(0)
    correlation = np.fft.irfft(spectrum, size)
    lags = np.arange(-reach, reach + 1)
    values = correlation[lags]
    # Of equal peaks (a constant, a periodic signal) the smallest shift wins.
    best = min(np.flatnonzero(values >= values.max() - 1e-9 * norm), key=lambda index: abs(lags[index]))
    return int(lags[best]), float(values[best] / norm)


def _contour(rows: NDArray, step: int) -> NDArray:
    """Loudness in dB over `step`-sample frames smoothed over ten of them, mean removed: `[1, frames]`."""
    frames = rows.shape[1] // step
    if not frames:
        return np.zeros((1, 1))
    energy = (rows[:, : frames * step] ** 2).sum(0).reshape(frames, step).mean(1)
    smooth = np.convolve(energy, np.full(10, 0.1), mode="same")
    loudness = 10 * np.log10(smooth + 1e-6 * smooth.max() + 1e-20)
    return (loudness - loudness.mean())[None]
