"""SimVQ: a random codebook, frozen, seen through one learned linear map (Zhu et al. 2024)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from codec.core import dist
from codec.quantize.base import can_branch
from codec.quantize.codebook import CodebookConfig, TrainableEntries
from codec.quantize.initialise import initialise


class SimVQConfig(CodebookConfig):
    """Entries that move together, by the optimiser, through the `codebook` loss.

    Attributes:
        orthogonal: also return a loss `orthogonality` of the entries.
    """

    kind: Literal["simvq"] = "simvq"
    orthogonal: bool = False


class SimVQQuantizer(TrainableEntries):
    """Vector quantizer with entries C W: C `[K, D]` random and fixed, W `[D, D]` learned (Zhu et al. 2024, equation 6).

    The `codebook` loss moves W and so every entry at once, also those that nothing chose: no code dies, and there is
    no restart. `decode` sees the entries, not C.

    The first training batch sets W (the paper leaves it random, and small): to the square root of the latents' second
    moments, so that the entries are drawn as from a Gaussian fitted to them.

    State: `base` C `[K, D]`, of variance 1, float32 in any module dtype; `mapping` W.
    """

    float32_buffers = ("ema_counts", "base")

    def __init__(self, config: SimVQConfig, dim: int) -> None:
        super().__init__(config, dim)
        self.orthogonal = config.orthogonal
        self.base: Tensor
        self.register_buffer("base", torch.randn(config.codebook_size, self.width, dtype=torch.float32))
        self.mapping = nn.Linear(self.width, self.width, bias=False)

    def _fill(self, rows: Tensor, valid: Tensor | None) -> None:
        if can_branch(rows):
            self.base.copy_(dist.broadcast(self.base))
        initialise(rows, valid, self.mapping.weight.detach(), self.ema_counts, self.initialised, "moments")

    def _table(self) -> Tensor:
        return self.base @ self.mapping.weight.float().t()
