"""Distance of pictures in the features of a network that was trained elsewhere and is handed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from codec.core.precision import float32_island
from codec.losses.padding import without_padding

FLOOR = 1e-8  # of a feature's squared length, so that one of zeros has a gradient


class FeatureNetwork(Protocol):
    """An `nn.Module` from pictures `[b, c, height, width]` in [-1, 1] to feature maps `[b, width, *space]`."""

    def __call__(self, pictures: Tensor, /) -> Sequence[Tensor]: ...


class PerceptualLoss(nn.Module):
    """Squared distance of features of length one, mean over space, sum over layers (Zhang et al. 2018, eq. 1).

    Shapes: `[b, c, height, width]` twice to a 0-d loss, float32, mean over the batch. The network runs in the run's
    precision; it is never trained and no part of the state.

    Args:
        network: gives the feature maps.
        weights: of the channels of each layer, `[width]`, the squares of the paper's w; None: all 1.
    """

    def __init__(self, network: FeatureNetwork, *, weights: Sequence[Tensor] | None = None):
        super().__init__()
        assert isinstance(network, nn.Module)
        self._hidden = (network.eval().requires_grad_(False),)  # in a tuple it is no submodule
        self._weights = None if weights is None else [weight.float() for weight in weights]

    def forward(self, reconstruction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        (network,) = self._hidden
        reconstruction, target = without_padding(reconstruction, target, mask)
        with torch.no_grad():
            wanted = network(target)
        got = network(reconstruction)
        with float32_island(target.device.type):
            weights = self._weights or [torch.ones(()) for _ in got]
            layers = zip(got, wanted, weights, strict=True)
            return torch.stack([_distance(ours, theirs, weight) for ours, theirs, weight in layers]).sum()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PerceptualLoss:
        """Moves the network along, and the weights."""
        self._hidden[0]._apply(fn)
        self._weights = self._weights and [fn(weight) for weight in self._weights]
        return super()._apply(fn, recurse)


def _distance(ours: Tensor, theirs: Tensor, weight: Tensor) -> Tensor:
    squares = (_unit(ours) - _unit(theirs)).square()
    return (squares * weight.view(-1, *(1,) * (squares.dim() - 2))).sum(1).mean()


def _unit(features: Tensor) -> Tensor:
    features = features.float()
    return features * (features.square().sum(1, keepdim=True) + FLOOR).rsqrt()
