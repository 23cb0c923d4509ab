"""Pointwise nonlinearities."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from codec.core.precision import float32_island

ActivationName = Literal["relu", "elu", "snake"]


class Snake(nn.Module):
    """x + sin^2(a x) / a with one learned a per channel (Ziyin et al. 2020, eq. 3; in codecs: Kumar et al. 2023).

    Its periodic part lets a network extend waveforms. Shapes: `[b, width, *space]` to the same.
    """

    def __init__(self, width: int):
        super().__init__()
        self.frequency = nn.Parameter(torch.ones(width))

    def forward(self, signal: Tensor) -> Tensor:
        with float32_island(signal.device.type):
            a = self.frequency.float().view(-1, *(1,) * (signal.dim() - 2))
            x = signal.float()
            return (x + torch.sin(a * x).square() / (a + 1e-9)).to(signal.dtype)


def build_activation(name: ActivationName, width: int) -> nn.Module:
    """The nonlinearity called `name` for `width` channels."""
    builders = {"relu": nn.ReLU, "elu": nn.ELU, "snake": lambda: Snake(width)}
    return builders[name]()
