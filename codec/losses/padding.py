"""Hiding what is not real from losses that look at more than one position at a time."""

from __future__ import annotations

from torch import Tensor


def without_padding(reconstruction: Tensor, target: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Both signals `[b, c, *space]` in float32, zero wherever `mask` `[b, *space]` is False."""
    if mask is None:
        return reconstruction.float(), target.float()
    valid = mask.unsqueeze(1)
    return reconstruction.float() * valid, target.float() * valid
