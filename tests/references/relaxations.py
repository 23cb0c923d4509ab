"""What relaxes a choice between K entries, all N x K probabilities at once, in float64; gradients are autograd's."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor


def gumbel_output(logits: Tensor, noise: Tensor, temperature: float, codebook: Tensor) -> Tensor:
    """softmax((logits + noise) / temperature) codebook (Jang et al. 2017, equation 2)."""
    return ((logits + noise) / temperature).softmax(1) @ codebook


def cosine_temperature(step: int, *, start: float, end: float, steps: int) -> float:
    """Half a cosine from `start` down to `end` over `steps`."""
    if step >= steps:
        return end
    return end + (start - end) * math.cos(math.pi * step / steps / 2) ** 2


def index_backpropagation(rows: Tensor, codebook: Tensor) -> Tensor:
    """(onehot + p - sg(p)) C with p = softmax(x Cᵀ) (Shi et al. 2024, section 3.2)."""
    p = (rows @ codebook.t()).softmax(1)
    onehot = F.one_hot(p.argmax(1), len(codebook)).to(p.dtype)
    return (onehot + p - p.detach()) @ codebook
