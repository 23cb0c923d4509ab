"""From a config to a model of units: the one place that tells their kinds apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from codec.core.config import Config, parse_config
from codec.models.contrastive_units import ContrastiveUnits, ContrastiveUnitsConfig
from codec.models.feature_units import FeatureUnits, FeatureUnitsConfig
from codec.models.masked_units import MaskedUnits, MaskedUnitsConfig
from codec.models.reconstruction_units import ReconstructionUnits, ReconstructionUnitsConfig
from codec.models.units import UnitConfig, UnitModel
from codec.models.waveform_units import WaveformUnits, WaveformUnitsConfig

UNIT_MODELS: dict[type[UnitConfig], Callable[[Any], UnitModel]] = {
    FeatureUnitsConfig: FeatureUnits,
    ContrastiveUnitsConfig: ContrastiveUnits,
    MaskedUnitsConfig: MaskedUnits,
    ReconstructionUnitsConfig: ReconstructionUnits,
    WaveformUnitsConfig: WaveformUnits,
}

AnyUnitConfig = Annotated[
    FeatureUnitsConfig | ContrastiveUnitsConfig | MaskedUnitsConfig | ReconstructionUnitsConfig | WaveformUnitsConfig,
    Field(discriminator="kind"),
]
"""The union of all configs of unit models, told apart by `kind`."""


def build_units(config: UnitConfig) -> UnitModel:
    """A freshly initialised model (torch's global random state decides the weights)."""
    return UNIT_MODELS[type(config)](config)


def parse_units(tree: Any, *, origin: str = "config") -> UnitConfig:
    """Read a plain tree, as `model_dump` gives it; UserError names `origin` and every wrong key."""
    return parse_config(_Wrapped, {"model": tree}, origin=origin).model


class _Wrapped(Config):
    model: AnyUnitConfig
