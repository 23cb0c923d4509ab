"""Units of speech: recordings in, a model that writes speech down in symbols of its own out. No labels are needed.

codec train units_speech --config cpu.yaml data.train=corpus/manifest.jsonl
"""

from __future__ import annotations

from pipeline import Recipe, new_run

from codec.core.wording import counted
from codec.data.loader import TrainingBatches, ValidationBatches
from codec.train import train
from codec.train.fabric import build_fabric
from codec.train.units import build_unit_task

__all__ = ["Recipe", "main"]


def main(config: str | None, overrides: list[str], run: str | None, resume: bool) -> None:
    """Train, validate, save; go on where a killed run stood if `resume`.

    Args:
        config: a preset of this folder (`cpu.yaml`) or a YAML file of your own.
        overrides: `dotted.key=value`.
        run: folder of the run, `runs/units_speech` if None.
    """
    folder, recipe = new_run(config, overrides, run, resume=resume)
    recipe = recipe.with_speakers()
    fabric = build_fabric(recipe.loop)
    task = build_unit_task(recipe)
    data = TrainingBatches(recipe.data, recipe.media, seed=recipe.loop.seed, telling=task.telling)
    validation = ValidationBatches(recipe.data, recipe.media, telling=task.telling)
    for purpose, batches in (("training", data), ("validation", validation)):
        if batches.num_left_out and fabric.is_global_zero:
            left_out = counted(batches.num_left_out, "recording")
            print(f"left out: {left_out} for {purpose} that {recipe.teacher} does not have")
    train(task, fabric=fabric, data=data, validation=validation, config=recipe.loop, run=folder, recipe=recipe)
