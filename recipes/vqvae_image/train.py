"""VQ-VAE on pictures: photographs in, a model that turns them into maps of codes and back out.

codec train vqvae_image --config cpu.yaml data.train=corpus/manifest.jsonl
"""

from __future__ import annotations

from pathlib import Path

from codec.core.config import load_config
from codec.data.loader import TrainingBatches, ValidationBatches
from codec.train import RunFolder, train
from codec.train.fabric import build_fabric
from codec.train.pictures import PictureConfig, build_picture_task
from codec.train.presets import find_preset

HERE = Path(__file__).parent


class Recipe(PictureConfig):
    """Everything this recipe can be told."""


def main(config: str | None, overrides: list[str], run: str | None, resume: bool) -> None:
    """Train, validate, save; go on where a killed run stood if `resume`.

    Args:
        config: a preset of this folder (`cpu.yaml`, `paper.yaml`, `cifar10_bits.yaml`) or a YAML file of your own.
        overrides: `dotted.key=value`.
        run: folder of the run, `runs/vqvae_image` if None.
    """
    folder = RunFolder(run or "runs/vqvae_image", resume=resume)
    recipe = load_config(Recipe, find_preset(config, HERE, run=folder), overrides)
    fabric = build_fabric(recipe.loop)
    task = build_picture_task(recipe)
    data = TrainingBatches(recipe.data, recipe.model.media, seed=recipe.loop.seed)
    validation = ValidationBatches(recipe.data, recipe.model.media)
    train(task, fabric=fabric, data=data, validation=validation, config=recipe.loop, run=folder, recipe=recipe)
