"""What a step of training units minimises, and what recipes for it can be told."""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import model_validator
from torch import Tensor, nn

from codec.checkpoint.units import save_units
from codec.core.config import Config
from codec.core.errors import UserError
from codec.data.config import DataConfig
from codec.models.build_units import AnyUnitConfig
from codec.models.media import AudioMedia
from codec.models.units import UnitModel
from codec.train.config import LoopConfig
from codec.train.recipe import Weights, check_crops


class UnitsConfig(Config):
    """Data, model, losses and loop of a recipe that trains units."""

    data: DataConfig
    model: AnyUnitConfig
    losses: Weights
    loop: LoopConfig

    @model_validator(mode="after")
    def _crops_are_whole_units(self) -> UnitsConfig:
        check_crops(self.data, self.model.downsample_factor)
        return self

    @property
    def media(self) -> AudioMedia:
        """What the data are read as: one channel, at the model's rate."""
        return AudioMedia(sample_rate=self.model.sample_rate)


class UnitTask(nn.Module):
    """The weighted sum of the losses that a model of units gives.

    Args:
        model: what is trained and exported.
        weights: of every loss, by name.

    Raises:
        UserError: a loss without a weight, or a weight without a loss.
    """

    sample_rate = None

    def __init__(self, model: UnitModel, weights: dict[str, float]):
        super().__init__()
        if set(weights) != set(model.loss_names):
            wanted = ", ".join(model.loss_names) or "none: it is found by clustering"
            raise UserError(f"losses have weights for {', '.join(weights) or 'none'}; this model has: {wanted}")
        self.model, self.weights = model, weights

    def forward(self, signal: Tensor, mask: Tensor | None = None) -> dict[str, dict[str, Tensor]]:
        """Losses of a batch, unweighted, and statistics: `{"losses": ..., "stats": ...}`, 0-d tensors by name."""
        learnt = self.model(signal, mask=mask)
        return {"losses": learnt.losses, "stats": learnt.stats}

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The weighted sum."""
        return torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()

    def samples(self, signal: Tensor) -> dict[str, Tensor]:
        """None: units are not heard while they are learnt."""
        return {}

    def export(self, folder: Path, *, name: str) -> None:
        """Write the model as it is now, ready for `load_units`."""
        save_units(self.model, folder, name=name)
