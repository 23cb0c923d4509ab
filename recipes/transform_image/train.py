"""A picture codec of several rates: photographs in, a model and the prior that makes its files small out.

codec train transform_image --config cpu.yaml data.train=corpus/manifest.jsonl
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from codec.core.config import load_config
from codec.data.loader import TrainingBatches, ValidationBatches
from codec.models import build_model
from codec.models.transform import TransformCodec, TransformConfig
from codec.priors.base import Geometry
from codec.priors.context import ContextConfig, ContextPrior
from codec.train import RunFolder, train
from codec.train.fabric import build_fabric
from codec.train.presets import find_preset
from codec.train.rate_distortion import RateDistortionTask
from codec.train.recipe import TrainingConfig

HERE = Path(__file__).parent


class Recipe(TrainingConfig):
    """Everything this recipe can be told."""

    model: TransformConfig  # pyright: ignore[reportIncompatibleVariableOverride] - narrower, and never assigned to
    prior: ContextConfig


def main(config: str | None, overrides: list[str], run: str | None, resume: bool) -> None:
    """Train, validate, save; go on where a killed run stood if `resume`.

    Args:
        config: a preset of this folder (`cpu.yaml`, `gpu.yaml`) or a YAML file of your own.
        overrides: `dotted.key=value`.
        run: folder of the run, `runs/transform_image` if None.
    """
    folder = RunFolder(run or "runs/transform_image", resume=resume)
    recipe = load_config(Recipe, find_preset(config, HERE, run=folder), overrides)
    fabric = build_fabric(recipe.loop)
    model = cast(TransformCodec, build_model(recipe.model))
    prior = ContextPrior(recipe.prior, Geometry.of(model.levels, 0, ndim=2))
    task = RateDistortionTask(model, prior)
    data = TrainingBatches(recipe.data, recipe.model.media, seed=recipe.loop.seed)
    validation = ValidationBatches(recipe.data, recipe.model.media)
    train(task, fabric=fabric, data=data, validation=validation, config=recipe.loop, run=folder, recipe=recipe)
