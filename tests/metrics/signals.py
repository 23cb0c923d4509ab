"""Signals to score, and a way to say that a score must be there."""

from __future__ import annotations

import numpy as np

from codec.metrics import Score

RATE = 16000


def voice(seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    """Speech-like: a gliding harmonic tone in bursts, with a little noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    pitch = 2 * np.pi * (120 * t + 15 * np.sin(2 * np.pi * 0.7 * t))
    tone = sum(np.sin(k * pitch + k) / k for k in range(1, 25))
    burst = np.clip(np.sin(2 * np.pi * 2.5 * t + 0.3), 0, 1) ** 0.5
    return 0.1 * burst * tone + 1e-3 * rng.standard_normal(len(t))


def noisy(signal: np.ndarray, snr_db: float) -> np.ndarray:
    noise = np.random.default_rng(3).standard_normal(len(signal))
    return signal + noise * np.linalg.norm(signal) / np.linalg.norm(noise) * 10 ** (-snr_db / 20)


def value(score: Score) -> float:
    """The score's value, which must be there."""
    assert score.value is not None, score.note
    return score.value
