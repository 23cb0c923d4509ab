"""Normalisation that looks at one position only, so that chunked coding stays exact."""

from __future__ import annotations

from torch import Tensor, nn

from codec.core.precision import float32_island


class ChannelNorm(nn.Module):
    """x / sqrt(mean over channels of x^2 + floor), position by position (Zhang and Sennrich 2019, eq. 4, no gain).

    Loud and quiet positions come out alike, so that a quantizer does not spend its codes on the loud ones; well below
    the floor (a root mean square of 0.1) quiet stays quiet. Shapes: `[b, width, *space]` to the same.
    """

    def __init__(self, *, floor: float = 1e-2):
        super().__init__()
        self.floor = floor

    def forward(self, signal: Tensor) -> Tensor:
        with float32_island(signal.device.type):
            x = signal.float()
            return (x * (x.square().mean(1, keepdim=True) + self.floor).rsqrt()).to(signal.dtype)
