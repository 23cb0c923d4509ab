"""A codec of sound: recordings in, a model of many rates and the prior that makes its files small out.

Five stages, one run folder: train, then `--stage count`, `--stage decoder`, `--stage extract` and `--stage prior`.

codec train codec_audio --config speech16k_cpu.yaml data.train=corpus/manifest.jsonl
"""

from __future__ import annotations

from pipeline import STAGES, Recipe

from codec.data.loader import TrainingBatches, ValidationBatches
from codec.train import train
from codec.train.fabric import build_fabric
from codec.train.sound import build_sound_task
from codec.train.sound_start import find_start

__all__ = ["Recipe", "main"]


def main(config: str | None, overrides: list[str], run: str | None, resume: bool) -> None:
    """Train, validate, save; go on where a killed run stood if `resume`.

    Args:
        config: a preset of this folder (`speech16k_cpu.yaml`, `speech16k.yaml`, `music44k.yaml`) or a YAML file of
            your own.
        overrides: `dotted.key=value`.
        run: folder of the run, `runs/codec_audio` if None.
    """
    folder, recipe = STAGES.new_run(config, overrides, run, resume=resume)
    fabric = build_fabric(recipe.loop)
    task = build_sound_task(recipe)
    data = TrainingBatches(recipe.data, recipe.model.media, seed=recipe.loop.seed)
    validation = ValidationBatches(recipe.data, recipe.model.media)
    if not folder.resume:
        find_start(task.model, data, device=fabric.device, trained=recipe.start_from is not None)
    train(task, fabric=fabric, data=data, validation=validation, config=recipe.loop, run=folder, recipe=recipe)
