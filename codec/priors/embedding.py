"""Codes as vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from codec.priors.base import Grid


class CodeEmbedding(nn.Module):
    """A vector for every code of every codebook of a level."""

    def __init__(self, grid: Grid, width: int):
        super().__init__()
        self.table = nn.Embedding(grid.num_codebooks * grid.codebook_size, width)
        self.first: Tensor
        first = torch.arange(grid.num_codebooks) * grid.codebook_size
        self.register_buffer("first", first, persistent=False)

    def forward(self, codes: Tensor) -> Tensor:
        """Vectors `[b, q, *space, width]` of codes `[b, q, *space]`, the first q codebooks'."""
        return self.table(codes + self.first[: codes.shape[1]].view(-1, *[1] * (codes.dim() - 2)))

    def one(self, codes: Tensor, codebook: int) -> Tensor:
        """Vectors `[..., width]` of codes `[...]` that are all of one codebook."""
        return self.table(codes + codebook * self.table.num_embeddings // len(self.first))
