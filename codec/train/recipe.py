"""What every recipe that trains a model can be told, and which of it does not go together."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, model_validator

from codec.core.config import Config
from codec.data.config import DataConfig
from codec.models.build import ModelConfig
from codec.train.config import LoopConfig


def _without_nulls(weights: Any) -> Any:
    """`losses.mse=null` takes a loss away that the preset names."""
    return {name: x for name, x in weights.items() if x is not None} if isinstance(weights, dict) else weights


Weights = Annotated[dict[str, float], BeforeValidator(_without_nulls)]


def check_crops(data: DataConfig, factor: int) -> None:
    """Raises ValueError unless crops of `data` are multiples of `factor` positions, those of one code."""
    for name in ("crop", "validation_crop"):
        size = getattr(data, name)
        if size is not None and size % factor:
            nearest = max(1, round(size / factor)) * factor
            raise ValueError(
                f"data.{name} is {size}, but the model makes one code of {factor} positions: "
                f"take a multiple, such as {nearest}"
            )


class TrainingConfig(Config):
    """Data, model and loop."""

    data: DataConfig
    model: ModelConfig
    loop: LoopConfig

    @model_validator(mode="after")
    def _crops_are_whole_codes(self) -> TrainingConfig:
        check_crops(self.data, self.model.downsample_factor)
        return self


class ReconstructionConfig(TrainingConfig):
    """The same, and weights of the losses by name, of a recipe that trains a model to reconstruct."""

    losses: Weights
