"""The rotation in the plane of two vectors as a matrix, from its angle, in float64 NumPy (Fifty et al. 2025)."""

from __future__ import annotations

import numpy as np


def rotation(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """`[D, D]`: turns the direction of `start` to that of `end` and leaves everything orthogonal to both."""
    first, target = start / np.linalg.norm(start), end / np.linalg.norm(end)
    across = target - (target @ first) * first
    sine = np.linalg.norm(across)
    cosine = target @ first
    if sine < 1e-12:
        assert cosine > 0, "opposite vectors have no such rotation"
        return np.eye(len(first))
    second = across / sine
    plane = np.outer(first, first) + np.outer(second, second)
    return np.eye(len(first)) + (cosine - 1) * plane + sine * (np.outer(second, first) - np.outer(first, second))


def pulled_back(start: np.ndarray, end: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """The gradient at `start` of the constant linear map that takes it to `end`: a rotation and a scale."""
    scale = np.linalg.norm(end) / np.linalg.norm(start)
    return scale * rotation(start, end).T @ gradient
