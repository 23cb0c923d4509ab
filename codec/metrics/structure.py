"""Structural similarity at one scale (Wang et al. 2004) and at five (Wang et al. 2003), a figure per picture."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 11  # pixels per side of the Gaussian window
_SIGMA = 1.5
_K1, _K2 = 0.01, 0.03
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # fine to coarse


def structural_similarity(reference: Tensor, estimate: Tensor, *, data_range: float) -> Tensor:
    """SSIM per picture, `[b]`, of `[b, c, height, width]` (Wang et al. 2004, eq. 13, mean over windows and channels).

    Only windows that lie wholly inside count, so each side must hold `WINDOW` pixels.
    """
    return torch.mul(*_terms(reference, estimate, data_range)).mean((1, 2, 3))


def multi_scale_similarity(
    reference: Tensor,
    estimate: Tensor,
    *,
    data_range: float,
    num_scales: int = len(SCALE_WEIGHTS),
    floor: float = 0.0,
) -> Tensor:
    """MS-SSIM per picture, `[b]`, of `[b, c, height, width]` (Wang et al. 2003, eq. 7, mean over channels).

    Between scales, means of 2 x 2 pixels; an odd last row or column is left out. The coarsest scale must still hold a
    window: at least `2^(num_scales - 1) * WINDOW` pixels per side. Fewer than five scales share the weight of all.

    Args:
        floor: what a channel whose structure is less, or negative, counts as at that scale. Above 0 where gradients
            are taken: that of a power is infinite at 0.
    """
    product = torch.ones(())
    weights = SCALE_WEIGHTS[:num_scales]
    for scale, weight in enumerate(weights, start=1):
        luminance, structure = _terms(reference, estimate, data_range)
        found = (luminance * structure if scale == num_scales else structure).mean((2, 3))
        product = product * found.clamp_min(floor) ** (weight * sum(SCALE_WEIGHTS) / sum(weights))
        reference, estimate = F.avg_pool2d(reference, 2), F.avg_pool2d(estimate, 2)
    return product.mean(1)


def _terms(x: Tensor, y: Tensor, data_range: float) -> tuple[Tensor, Tensor]:
    """The luminance term and the contrast-structure term at every window, `[b, c, height - 10, width - 10]`."""
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    mean_x, mean_y, square_x, square_y, both = _blurred(torch.cat((x, y, x * x, y * y, x * y), dim=1)).chunk(5, dim=1)
    variances = square_x - mean_x**2 + square_y - mean_y**2
    covariance = both - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance, (2 * covariance + c2) / (variances + c2)


def _blurred(maps: Tensor) -> Tensor:
    """Gaussian means over windows inside the picture; by rows, then by columns."""
    offsets = torch.arange(WINDOW, device=maps.device, dtype=maps.dtype) - WINDOW // 2
    window = torch.exp(-(offsets**2) / (2 * _SIGMA**2))
    window = (window / window.sum()).expand(maps.shape[1], 1, 1, WINDOW)
    maps = maps.contiguous(memory_format=torch.channels_last)
    rows = F.conv2d(maps, window.mT, groups=maps.shape[1])
    return F.conv2d(rows, window, groups=maps.shape[1])
