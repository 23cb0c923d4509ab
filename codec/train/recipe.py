"""What every reconstruction recipe can be told, and which of it does not go together."""

from __future__ import annotations

from pydantic import model_validator

from codec.core.config import Config
from codec.data.config import DataConfig
from codec.models.build import ModelConfig
from codec.train.config import LoopConfig


class ReconstructionConfig(Config):
    """Data, model, weights of the losses by name, and loop of a recipe that trains a model to reconstruct."""

    data: DataConfig
    model: ModelConfig
    losses: dict[str, float]
    loop: LoopConfig

    @model_validator(mode="after")
    def _crops_are_whole_codes(self) -> ReconstructionConfig:
        factor = self.model.encoder.downsample_factor
        for name in ("crop", "validation_crop"):
            size = getattr(self.data, name)
            if size is not None and size % factor:
                nearest = max(1, round(size / factor)) * factor
                raise ValueError(
                    f"data.{name} is {size}, but the model makes one code of {factor} positions: "
                    f"take a multiple, such as {nearest}"
                )
        return self
