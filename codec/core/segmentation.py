"""Segments of speech, one code each: fewer and longer than runs of the nearest codes."""

from __future__ import annotations

import numpy as np

from codec.core.errors import UserError
from codec.core.runs import Runs, find_runs


def segment(vectors: np.ndarray, codebook: np.ndarray, *, penalty: float) -> Runs:
    """The segments, one code each, with the least sum of squared distances + `penalty` * number of segments.

    This is the minimum that Kamper and van Niekerk 2021 seek: their weight -penalty * (length - 1) of each segment adds
    up to the same but for a constant. It is found by dynamic programming in frames * K steps: a new
    segment begins from the best of all codes before it, so each frame compares K ways to go on with one to begin.

    Args:
        vectors: of frames, `[frames, d]`.
        codebook: `[K, d]`.
        penalty: in squared distance; 0 gives runs of the nearest codes.

    Raises:
        UserError: shapes that do not fit, numbers that are not finite, or a negative penalty.
    """
    if vectors.ndim != 2 or codebook.ndim != 2 or vectors.shape[1] != codebook.shape[1] or not len(codebook):
        raise UserError(
            f"vectors of shape {vectors.shape} with a codebook of shape {codebook.shape}: give [frames, d] and [K, d]"
        )
    if not 0 <= penalty < np.inf:
        raise UserError(f"penalty={penalty} must be a number from 0, in squared distance")
    if not (np.isfinite(vectors).all() and np.isfinite(codebook).all()):
        raise UserError("vectors and codebook must be finite numbers: look at the model's weights and the signal")
    codebook = codebook.astype(np.float64)
    costs = np.zeros(len(codebook))  # of the best segments so far, by the code of the last, above the least of them
    best = 0
    began = np.zeros((len(vectors), len(codebook)), dtype=bool)
    before = np.zeros(len(vectors), dtype=np.int64)
    for frame, vector in enumerate(vectors.astype(np.float64)):
        began[frame] = costs > penalty
        before[frame] = best
        costs = np.minimum(costs, penalty) + ((codebook - vector) ** 2).sum(axis=1)
        best = int(costs.argmin())
        costs -= costs[best]
    return find_runs(_traced(began, before, best))


def _traced(began: np.ndarray, before: np.ndarray, last: int) -> np.ndarray:
    """Codes `[frames]` of the path that ends in code `last`."""
    codes = np.empty(len(began), dtype=np.int64)
    code = last
    for frame in range(len(began) - 1, -1, -1):
        codes[frame] = code
        if began[frame, code]:
            code = int(before[frame])
    return codes
