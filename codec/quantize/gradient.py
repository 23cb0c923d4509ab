"""A codebook learned by gradient descent on the codebook loss (van den Oord et al. 2017, equation 3)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from codec.quantize.learned import LearnedCodebook, LearnedCodebookConfig
from codec.quantize.penalties import codebook_error, orthogonality
from codec.quantize.rows import Assignment


class GradientConfig(LearnedCodebookConfig):
    """Codebook learned by the optimiser, through the `codebook` loss.

    Attributes:
        orthogonal: also return a loss `orthogonality` of the entries.
    """

    kind: Literal["gradient"] = "gradient"
    orthogonal: bool = False


class GradientQuantizer(LearnedCodebook):
    """Vector quantizer whose entries are parameters, drawn to their vectors by the `codebook` loss.

    `codebook` loss: mean over real positions and channels of (sg(z_e) - e)^2, equation 3's second term; weigh it 1.
    With `estimator: diveq` the entries learn from the reconstruction, and it may weigh 0.
    Running counts serve restarts and histograms only. A restarted entry keeps the optimiser's moments of the old one.
    """

    def __init__(self, config: GradientConfig, dim: int) -> None:
        super().__init__(config, dim)
        self.codebook = nn.Parameter(torch.randn(config.codebook_size, self.width))
        self.orthogonal = config.orthogonal

    @property
    def loss_names(self) -> tuple[str, ...]:
        return (*super().loss_names, "codebook", *(("orthogonality",) if self.orthogonal else ()))

    def _emit(self, assignment: Assignment) -> tuple[Tensor, dict[str, Tensor]]:
        outputs, losses = super()._emit(assignment)
        losses |= {"codebook": codebook_error(assignment)}
        return outputs, losses | ({"orthogonality": orthogonality(self.entries())} if self.orthogonal else {})
