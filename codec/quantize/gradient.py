"""A codebook learned by gradient descent on the codebook loss (van den Oord et al. 2017, equation 3)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from codec.quantize.codebook import TrainableEntries
from codec.quantize.learned import LearnedCodebook, LearnedCodebookConfig


class GradientConfig(LearnedCodebookConfig):
    """Codebook learned by the optimiser, through the `codebook` loss.

    Attributes:
        orthogonal: also return a loss `orthogonality` of the entries.
    """

    kind: Literal["gradient"] = "gradient"
    orthogonal: bool = False


class GradientQuantizer(TrainableEntries, LearnedCodebook):
    """Vector quantizer whose entries are parameters, drawn to their vectors by the `codebook` loss.

    With `estimator: diveq` the entries learn from the reconstruction, and that loss may weigh 0.
    Running counts serve restarts and histograms only. A restarted entry keeps the optimiser's moments of the old one.
    """

    def __init__(self, config: GradientConfig, dim: int) -> None:
        super().__init__(config, dim)
        self.codebook = nn.Parameter(torch.randn(config.codebook_size, self.width))
        self.orthogonal = config.orthogonal
