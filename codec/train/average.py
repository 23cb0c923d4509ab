"""Exponential moving average of weights: what is validated and exported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """A float32 shadow of a module's parameters; buffers such as codebooks stay the module's own.

    Early on the decay is (1 + n) / (10 + n) if that is smaller, so that the start is soon forgotten.
    """

    def __init__(self, module: nn.Module, decay: float):
        self.decay = decay
        self.updates = 0
        self._parameters = dict(module.named_parameters())
        self.shadow = {name: p.detach().float().clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move the shadow towards the current weights; once per optimiser step."""
        self.updates += 1
        weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, parameter in self._parameters.items():
            self.shadow[name].lerp_(parameter.detach().float(), weight)

    @contextmanager
    @torch.no_grad()
    def applied(self) -> Iterator[None]:
        """Within the context the module has the averaged weights; afterwards its own, bit for bit."""
        own = {name: p.detach().clone() for name, p in self._parameters.items()}
        try:
            self._write(self.shadow)
            yield
        finally:
            self._write(own)

    def load(self, shadow: dict[str, Tensor], updates: int) -> None:
        """Continue from a saved shadow."""
        self.updates = updates
        for name, tensor in self.shadow.items():
            tensor.copy_(shadow[name])

    def _write(self, values: dict[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.data.copy_(values[name])
