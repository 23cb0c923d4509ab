"""The baseline: units that are clusters of the features themselves."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt
from torch import Tensor, nn

from codec.core.errors import UserError
from codec.models.units import Learnt, UnitConfig, UnitModel
from codec.quantize.build import OneCodebookConfig


class FeatureUnitsConfig(UnitConfig):
    """Which features, and how many units.

    Attributes:
        stride: frames whose mean is one latent.
        quantizer: its codebook is found by k-means (`codec.train.clusters`).
    """

    kind: Literal["features"] = "features"
    stride: PositiveInt = 1
    quantizer: OneCodebookConfig

    @property
    def frames_per_unit(self) -> int:
        return self.stride


class FeatureUnits(UnitModel):
    """Means of a few frames of features, and the nearest of the codebook's."""

    def __init__(self, config: FeatureUnitsConfig):
        super().__init__(config)
        self.encoder = nn.AvgPool1d(config.stride)
        self.quantizer = self._build_quantizer(config.quantizer, config.features.num_features)

    @property
    def loss_names(self) -> tuple[str, ...]:
        return ()

    def forward(self, signal: Tensor, *, mask: Tensor | None = None, targets: Tensor | None = None) -> Learnt:
        raise UserError("units of features are found by clustering, not by training: use the stage `cluster`")
