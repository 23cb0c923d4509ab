"""PESQ, STOI and ViSQOL, from packages of the `metrics` extra; absent packages give absent scores."""

from __future__ import annotations

import importlib
import importlib.util
import math
import warnings
from collections.abc import Callable
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import soxr
from numpy.typing import ArrayLike

from codec.metrics.alignment import as_rows
from codec.metrics.score import Score, mean_score

_SILENT = 1e-10
_PESQ_PIECE_S = 15.0  # P.862 is meant for 8-12 s; its code overruns on many utterances


def pesq(reference: ArrayLike, estimate: ArrayLike, *, sample_rate: int) -> Score:
    """PESQ (ITU-T P.862.2), about 1.0 to 4.64: wideband from 16 kHz, narrowband (P.862.1) below.

    Signals `[time]` or `[c, time]`, aligned and equally long. Mean over channels, and over equal pieces of
    recordings longer than 15 s.
    """
    rate, mode = (16000, "wb") if sample_rate >= 16000 else (8000, "nb")

    def measure(module: Any, ours: np.ndarray, theirs: np.ndarray) -> Score:
        count = math.ceil(len(ours) / (_PESQ_PIECE_S * rate))
        pieces = zip(np.array_split(ours, count), np.array_split(theirs, count), strict=True)
        return mean_score(
            _guarded(lambda a=a, b=b: module.pesq(rate, _float32(a), _float32(b), mode)) for a, b in pieces
        )

    score = _measure("pesq", "PESQ", measure, reference, estimate, sample_rate, rate)
    return Score(score.value, score.note or ("narrowband" if mode == "nb" else ""))


def stoi(reference: ArrayLike, estimate: ArrayLike, *, sample_rate: int) -> Score:
    """Short-time objective intelligibility (Taal et al. 2011), 0 to 1; needs 0.4 s of speech."""

    def measure(module: Any, ours: np.ndarray, theirs: np.ndarray) -> Score:
        return _guarded(lambda: module.stoi(ours, theirs, 10000))

    return _measure("pystoi", "STOI", measure, reference, estimate, sample_rate, 10000)


def visqol(reference: ArrayLike, estimate: ArrayLike, *, sample_rate: int) -> Score:
    """ViSQOL v3 (Chinen et al. 2020), 1 to 5: speech mode up to 24 kHz, audio mode above."""
    mode, rate = ("speech", 16000) if sample_rate <= 24000 else ("audio", 48000)
    lattice = importlib.util.find_spec("ai_edge_litert") is not None

    def measure(module: Any, ours: np.ndarray, theirs: np.ndarray) -> Score:
        if len(ours) < rate // 2:
            return Score(None, "shorter than half a second")
        judge = _visqol_judge(module, mode, lattice)
        return _guarded(lambda: judge.measure_from_arrays(ours, theirs, sample_rate=rate).moslqo)

    score = _measure("visqol", "ViSQOL", measure, reference, estimate, sample_rate, rate)
    if score.value is not None and mode == "speech" and not lattice:
        return Score(score.value, "polynomial mapping, reads 1 to 2 points high: pip install 'visqol-python[lattice]'")
    return score


@lru_cache(maxsize=4)
def _visqol_judge(module: Any, mode: str, lattice: bool) -> Any:
    judge = module.VisqolApi()
    judge.create(mode=mode, **({"use_lattice_model": lattice} if mode == "speech" else {}))
    return judge


def _measure(
    package: str,
    title: str,
    measure: Callable[[Any, np.ndarray, np.ndarray], Score],
    reference: ArrayLike,
    estimate: ArrayLike,
    sample_rate: int,
    rate: int,
) -> Score:
    """Check shapes, find the package, resample to the metric's rate and average the channels."""
    ours, theirs = as_rows(reference), as_rows(estimate)
    if ours.shape != theirs.shape:
        raise ValueError(f"reference is {ours.shape} and estimate {theirs.shape}; align them first")
    module = _find(package)
    if module is None:
        return Score(None, f"{title} needs the metrics extra: pip install 'vq-codec[metrics]'")
    scores = []
    for a, b in zip(ours, theirs, strict=True):
        if float((a**2).mean()) < _SILENT:
            scores.append(Score(None, "the reference is silent"))
        elif float((b**2).mean()) < _SILENT:
            scores.append(Score(None, "the estimate is silent"))
        else:
            scores.append(measure(module, _resample(a, sample_rate, rate), _resample(b, sample_rate, rate)))
    return mean_score(scores)


def _find(package: str) -> ModuleType | None:
    try:
        return importlib.import_module(package)
    except ImportError:
        return None


def _guarded(run: Callable[[], float]) -> Score:
    """The figure, or the package's own reason why there is none (too short, no speech found)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            value = float(run())
    except Exception as error:  # each package has its own error types
        reason = error.args[0] if error.args else type(error).__name__
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        return Score(None, text.strip().split(". ")[0].lower() or type(error).__name__)
    return Score(value) if math.isfinite(value) else Score(None, "not defined for these signals")


def _resample(row: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    return row if rate == wanted else soxr.resample(row, rate, wanted)


def _float32(row: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(row, dtype=np.float32)
