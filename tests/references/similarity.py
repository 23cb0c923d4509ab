"""Structural similarity as its papers write it down, in double precision, every window for itself."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def gaussian() -> NDArray:
    """The 11 x 11 window of standard deviation 1.5."""
    squares = (np.arange(11) - 5.0) ** 2
    weights = np.exp(-(squares[:, None] + squares[None]) / (2 * 1.5**2))
    return weights / weights.sum()


def terms(x: NDArray, y: NDArray, data_range: float) -> tuple[float, float]:
    """Mean over the windows of one channel: of luminance x contrast x structure, and of contrast x structure."""
    window, c1, c2 = gaussian(), (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    whole, structures = [], []
    for a, b in zip(sliding_window_view(x, (11, 11)), sliding_window_view(y, (11, 11)), strict=True):  # rows of windows
        mean_a, mean_b = (np.sum(window * patch, (1, 2), keepdims=True) for patch in (a, b))
        variance_a, variance_b = (np.sum(window * (p - m) ** 2, (1, 2)) for p, m in ((a, mean_a), (b, mean_b)))
        covariance = np.sum(window * (a - mean_a) * (b - mean_b), (1, 2))
        structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
        luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
        whole.extend(luminance[:, 0, 0] * structure)
        structures.extend(structure)
    return float(np.mean(whole)), float(np.mean(structures))


def ssim(x: NDArray, y: NDArray, data_range: float) -> float:
    """SSIM of two pictures `[c, height, width]`."""
    return float(np.mean([terms(a, b, data_range)[0] for a, b in zip(x, y, strict=True)]))


def ms_ssim(x: NDArray, y: NDArray, data_range: float) -> float:
    """MS-SSIM of two pictures `[c, height, width]`; halved by dropping an odd edge and averaging fours."""
    channels = []
    for a, b in zip(x, y, strict=True):
        product = 1.0
        for scale, weight in enumerate(WEIGHTS):
            whole, structure = terms(a, b, data_range)
            product *= max(0.0, whole if scale == 4 else structure) ** weight
            a, b = halved(a), halved(b)
        channels.append(product)
    return float(np.mean(channels))


def halved(x: NDArray) -> NDArray:
    """Means of 2 x 2 pixels."""
    height, width = (extent // 2 * 2 for extent in x.shape)
    return x[:height, :width].reshape(height // 2, 2, width // 2, 2).mean((1, 3))
