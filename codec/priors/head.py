"""From features to logits, with weights for each codebook."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from codec.priors.base import Grid


class CodebookHead(nn.Module):
    """Logits of a code of each codebook from features of its own; small at first, so that all codes start alike."""

    def __init__(self, grid: Grid, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.weight = nn.Parameter(torch.randn(grid.num_codebooks, grid.codebook_size, width) * 0.1 * width**-0.5)
        self.bias = nn.Parameter(torch.zeros(grid.num_codebooks, grid.codebook_size))

    def forward(self, features: Tensor) -> Tensor:
        """Logits `[b, K, q, n]` of features `[b, n, q, width]`."""
        return torch.einsum("bnqc,qkc->bkqn", self.norm(features), self.weight) + self.bias.T.unsqueeze(-1)

    def one(self, features: Tensor, codebook: int) -> Tensor:
        """Logits `[..., K]` of features `[..., width]` for one codebook."""
        return nn.functional.linear(self.norm(features), self.weight[codebook], self.bias[codebook])
