"""Units of speech: recordings in, a model that writes speech down in symbols of its own out. No labels are needed.

codec train units_speech --config cpu.yaml data.train=corpus/manifest.jsonl
"""

from __future__ import annotations

from pipeline import Recipe, new_run

from codec.data.loader import TrainingBatches, ValidationBatches
from codec.models.build_units import build_units
from codec.train import train
from codec.train.fabric import build_fabric
from codec.train.units import UnitTask

__all__ = ["Recipe", "main"]


def main(config: str | None, overrides: list[str], run: str | None, resume: bool) -> None:
    """Train, validate, save; go on where a killed run stood if `resume`.

    Args:
        config: a preset of this folder (`cpu.yaml`) or a YAML file of your own.
        overrides: `dotted.key=value`.
        run: folder of the run, `runs/units_speech` if None.
    """
    folder, recipe = new_run(config, overrides, run, resume=resume)
    fabric = build_fabric(recipe.loop)
    task = UnitTask(build_units(recipe.model), recipe.losses)
    data = TrainingBatches(recipe.data, recipe.media, seed=recipe.loop.seed)
    validation = ValidationBatches(recipe.data, recipe.media)
    train(task, fabric=fabric, data=data, validation=validation, config=recipe.loop, run=folder, recipe=recipe)
