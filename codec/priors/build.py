"""From configuration to prior: the one place that knows every kind."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from codec.core.config import Config
from codec.priors.base import Geometry, NeuralPrior, Prior
from codec.priors.coding import CodingPrior, ContextCodingConfig, ContextCodingPrior
from codec.priors.context import ContextConfig, ContextPrior
from codec.priors.frame_coding import FrameCodingConfig, FrameCodingPrior
from codec.priors.frames import FrameConfig, FramePrior
from codec.priors.pixelcnn import PixelCNN, PixelCNNConfig
from codec.priors.transformer import Transformer, TransformerConfig

AnyNeuralConfig = PixelCNNConfig | TransformerConfig | ContextConfig | FrameConfig
NeuralConfig = Annotated[AnyNeuralConfig, Field(discriminator="kind")]

AnyConfig = AnyNeuralConfig | ContextCodingConfig | FrameCodingConfig
PriorConfig = Annotated[AnyConfig, Field(discriminator="kind")]

RASTER_KINDS: dict[str, type[Config]] = {"pixelcnn": PixelCNNConfig, "transformer": TransformerConfig}
"""The kinds that predict one code at a time."""

KINDS: dict[str, type[Config]] = {
    **RASTER_KINDS,
    "context": ContextConfig,
    "integer": ContextCodingConfig,
    "frames": FrameConfig,
    "integer_frames": FrameCodingConfig,
}


def build_prior(config: AnyConfig, geometry: Geometry) -> Prior | CodingPrior:
    """A fresh prior over the codes that `geometry` describes (torch's random state decides the weights).

    Raises:
        UserError: the config and the geometry do not go together.
    """
    match config:
        case ContextCodingConfig():
            return ContextCodingPrior(config, geometry)
        case FrameCodingConfig():
            return FrameCodingPrior(config, geometry)
        case _:
            return build_neural_prior(config, geometry)


def build_neural_prior(config: AnyNeuralConfig, geometry: Geometry) -> NeuralPrior:
    """A fresh prior that training reaches; args and errors as `build_prior`."""
    match config:
        case PixelCNNConfig():
            return PixelCNN(config, geometry)
        case TransformerConfig():
            return Transformer(config, geometry)
        case ContextConfig():
            return ContextPrior(config, geometry)
        case FrameConfig():
            return FramePrior(config, geometry)
