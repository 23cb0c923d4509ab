"""A codebook learned by gradient descent on the codebook loss (van den Oord et al. 2017, equation 3)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from codec.quantize.codebook import CodebookConfig, CodebookQuantizer
from codec.quantize.stats import BatchSums


class GradientConfig(CodebookConfig):
    """Codebook learned by the optimiser, through the `codebook` loss."""

    kind: Literal["gradient"] = "gradient"


class GradientQuantizer(CodebookQuantizer):
    """Vector quantizer whose entries are parameters, drawn to their vectors by the `codebook` loss.

    `codebook` loss: mean over real positions and channels of (sg(z_e) - e)^2, equation 3's second term; weigh it 1.
    Running counts serve restarts and histograms only. A restarted entry keeps the optimiser's moments of the old one.
    """

    def __init__(self, config: GradientConfig, dim: int) -> None:
        super().__init__(config, dim)
        self.codebook = nn.Parameter(torch.randn(config.codebook_size, self.width))

    @property
    def loss_names(self) -> tuple[str, ...]:
        return (*super().loss_names, "codebook")

    def _losses(self, anchors: Tensor, vectors: Tensor, valid: Tensor | None, sums: BatchSums) -> dict[str, Tensor]:
        losses = super()._losses(anchors, vectors, valid, sums)
        return losses | {"codebook": self._mean_error(anchors.detach(), vectors, valid, sums)}

    def _move(self, sums: BatchSums, gate: Tensor) -> None:
        """Nothing: the optimiser moves the entries."""

    def _assign(self, codes: Tensor, vectors: Tensor, counts: Tensor, gate: Tensor) -> None:
        vectors = torch.where(gate[:, None], vectors.to(self.codebook.dtype), self.codebook[codes])
        self.codebook.index_copy_(0, codes, vectors)
        self.ema_counts.index_copy_(0, codes, torch.where(gate, counts, self.ema_counts[codes]))
