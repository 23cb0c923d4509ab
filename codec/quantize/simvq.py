"""SimVQ: a random codebook, frozen, seen through one learned linear map (Zhu et al. 2024)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from codec.core import dist
from codec.quantize.codebook import CodebookConfig, TrainableEntries


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

    State: `base` C `[K, D]`, float32 in any module dtype, of variance 1; `mapping` W, orthogonal at the start, so that
    the first entries vary as latents of unit variance do (the published code starts at 1 / (3 D) of that variance).
    """

    float32_buffers = ("ema_counts", "base")

    def __init__(self, config: SimVQConfig, dim: int) -> None:
        super().__init__(config, dim)
        self.orthogonal = config.orthogonal
        self.base: Tensor
        self.register_buffer("base", torch.randn(config.codebook_size, self.width, dtype=torch.float32))
        self.mapping = nn.Linear(self.width, self.width, bias=False)
        nn.init.orthogonal_(self.mapping.weight)
        self._synchronised = False

    @torch.no_grad()
    def _initialise(self, rows: Tensor, valid: Tensor | None) -> None:
        """All ranks take the table of rank 0, once."""
        if not self._synchronised:
            self.base.copy_(dist.broadcast(self.base))
            self._synchronised = True

    def _table(self) -> Tensor:
        return self.base @ self.mapping.weight.float().t()
