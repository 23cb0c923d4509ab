"""The baseline: units that are clusters of the features themselves."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt
from torch import Tensor, nn

from codec.core.errors import UserError
from codec.core.overlap import Span
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
        self.encoder = _Means(config.stride)
        self.quantizer = self._build_quantizer(config.quantizer, config.features.num_features)

    @property
    def loss_names(self) -> tuple[str, ...]:
        return ()

    def forward(self, signal: Tensor, *, mask: Tensor | None = None, targets: Tensor | None = None) -> Learnt:
        raise UserError("units of features are found by clustering, not by training: use the stage `cluster`")


class _Means(nn.Module):
    """Means `[b, d, n]` of every `stride` frames of `[b, d, n * stride]`."""

    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride

    def forward(self, frames: Tensor) -> Tensor:
        return frames.unflatten(2, (-1, self.stride)).mean(3)

    def input_span(self, span: Span) -> Span:
        """Frames that means `span` are of."""
        return Span(span.start * self.stride, span.stop * self.stride)
