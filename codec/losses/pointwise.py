"""Losses that compare sample by sample or pixel by pixel, in float32, over valid positions only."""

from __future__ import annotations

from torch import Tensor


def mse(reconstruction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared error of `[b, c, *space]`; `mask` `[b, *space]` is True where the target is real."""
    return masked_mean((reconstruction.float() - target.float()).square(), mask)


def l1(reconstruction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute error of `[b, c, *space]`; `mask` `[b, *space]` is True where the target is real."""
    return masked_mean((reconstruction.float() - target.float()).abs(), mask)


def masked_mean(error: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of `[b, c, *space]`; `mask` `[b, *space]` is True where a position counts."""
    if mask is None:
        return error.mean()
    weight = mask.unsqueeze(1).expand_as(error)
    return (error * weight).sum() / weight.sum().clamp_min(1)
