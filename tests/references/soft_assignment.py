"""Entropies of a soft assignment to codes that are all listed, in float64; gradients are autograd's."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

SMALLEST = 1e-300  # so that 0 log 0 is 0, and its gradient finite


def corners(bits: int, level: float) -> Tensor:
    """All `[2^bits, bits]` vectors of +level and -level."""
    return torch.tensor(list(itertools.product((-level, level), repeat=bits)), dtype=torch.float64)


def probabilities(rows: Tensor, codes: Tensor, temperature: float) -> Tensor:
    """softmax of -|x - c|^2 / temperature, `[N, K]`, by direct difference."""
    distances = torch.stack([(row - codes).square().sum(1) for row in rows])
    return (-distances / temperature).softmax(1)


def entropy(p: Tensor) -> Tensor:
    """Mean over rows of the entropy in nats of `p` `[N, K]`."""
    return _entropy(p).mean()


def diversity(p: Tensor) -> Tensor:
    """log K less the entropy of the mean of `p` `[N, K]`."""
    return math.log(p.shape[1]) - _entropy(p.mean(0))


def divergence_from_uniform(p: Tensor) -> Tensor:
    """Mean over rows of the sum of p log(p / (1 / K))."""
    return (p * (p * p.shape[1]).clamp_min(SMALLEST).log()).sum(1).mean()


def _entropy(p: Tensor) -> Tensor:
    return -(p * p.clamp_min(SMALLEST).log()).sum(-1)
