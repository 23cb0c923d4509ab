"""VQ-VAE-2 on pictures: photographs in, a pyramid of codes, priors over it, and new pictures out.

Four stages, one run folder: train, then `--stage extract`, `--stage prior` and `--stage sample`.

codec train vqvae2_image --config photos_cpu.yaml data.train=corpus/manifest.jsonl
"""

from __future__ import annotations

from pipeline import STAGES, Recipe

from codec.data.loader import TrainingBatches, ValidationBatches
from codec.train import train
from codec.train.fabric import build_fabric
from codec.train.pictures import build_picture_task

__all__ = ["Recipe", "main"]


def main(config: str | None, overrides: list[str], run: str | None, resume: bool) -> None:
    """Train the model, validate, save; go on where a killed run stood if `resume`.

    Args:
        config: a preset of this folder (`photos_cpu.yaml`, `imagenet256.yaml`, ...) or a YAML file of your own.
        overrides: `dotted.key=value`.
        run: folder of the run, `runs/vqvae2_image` if None.
    """
    folder, recipe = STAGES.new_run(config, overrides, run, resume=resume)
    fabric = build_fabric(recipe.loop)
    task = build_picture_task(recipe)
    data = TrainingBatches(recipe.data, recipe.model.media, seed=recipe.loop.seed)
    validation = ValidationBatches(recipe.data, recipe.model.media)
    train(task, fabric=fabric, data=data, validation=validation, config=recipe.loop, run=folder, recipe=recipe)
