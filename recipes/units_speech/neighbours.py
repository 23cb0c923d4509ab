"""A teacher for `masked.yaml`: recordings written down in units of what they have in common with others."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from pipeline import DEFAULT_RUN, Recipe, new_run, recordings
from rich.progress import track
from torch import Tensor

from codec.checkpoint.units import load_units
from codec.checkpoint.weights import fingerprint_of
from codec.core.errors import UserError
from codec.core.wording import counted
from codec.data.loader import train_entries, validation_entries
from codec.data.manifest import Entry
from codec.files.unit_lines import UnitSource, write_lines
from codec.models.masked_units import MaskedUnitsConfig
from codec.models.units import UnitModel
from codec.quantize.lookup import nearest
from codec.train.clusters import MOST_VECTORS, check_enough, each_latents, find_codebook
from codec.train.neighbours import draw_moments, neighbour_means
from codec.train.units import WRITTEN


@torch.inference_mode()
def main(config: str | None, overrides: list[str], run: str | None, resume: bool) -> None:
    """Write `teacher.jsonl` into the run folder: all recordings of a training in as many units as `model` learns from.

    The units are clusters of the latents of `teacher`, a trained model, averaged with those of like moments in other
    recordings.

    Args: as of the stage `train`; there is nothing to resume.

    Raises:
        UserError: `model` learns from no teacher, or none is named that hears speech.
    """
    target = Path(run or DEFAULT_RUN) / "teacher.jsonl"
    if resume or (target.parent / "checkpoints").exists():
        raise UserError(
            f"the stage neighbours goes before training, nothing to resume: take another --run than {target.parent}"
        )
    _, recipe = new_run(config, overrides, run, resume=False)
    num_units, teacher = _asked_for(recipe)
    entries = train_entries(recipe.data, recipe.media) + validation_entries(recipe.data, recipe.media)
    latents = _latents(recipe, teacher, entries)
    if len(latents) < 2:
        raise UserError(f"{counted(len(latents), 'recording')} has no other to be compared with: give more")
    check_enough(sum(map(len, latents.values())), num_units)
    moments = draw_moments(list(latents.values()), seed=recipe.loop.seed).to(next(teacher.buffers()).device)
    comparing = track(neighbour_means(latents.values(), moments), description="comparing", total=len(latents))
    means = dict(zip(latents, comparing, strict=True))
    codebook = find_codebook(_drawn(means.values(), seed=recipe.loop.seed), num_units, seed=recipe.loop.seed)
    found = UnitSource(
        f"{teacher.name}-neighbours", fingerprint_of({}, {"codebook": codebook}), num_units, teacher.frame_rate
    )
    lines = (found.line(path, nearest(mean, codebook).numpy()) for path, mean in means.items())
    print(f"{target}: {counted(write_lines(lines, target), 'recording')} in {num_units} units")


def _asked_for(recipe: Recipe) -> tuple[int, UnitModel]:
    """How many units are wanted, and the model whose latents they are found in."""
    wanted = recipe.model
    if not isinstance(wanted, MaskedUnitsConfig):
        raise UserError(f"a model of kind {wanted.kind} learns from no teacher: take --config masked.yaml")
    if recipe.teacher is None or recipe.teacher.endswith(WRITTEN):
        given = f", not {recipe.teacher}" if recipe.teacher else ""
        raise UserError(f"no model to find units with: name a trained one (teacher=FOLDER){given}")
    teacher = load_units(recipe.teacher, device=recipe.loop.device)
    rate = wanted.sample_rate / wanted.downsample_factor
    if (teacher.config.sample_rate, teacher.frame_rate) != (wanted.sample_rate, rate):
        raise UserError(
            f"teacher {teacher.name} has {teacher.frame_rate:g} units a second, at {teacher.config.sample_rate} Hz; "
            f"the model wants {rate:g}, at {wanted.sample_rate} Hz: take another"
        )
    return wanted.num_targets, teacher


def _latents(recipe: Recipe, teacher: UnitModel, entries: Sequence[Entry]) -> dict[Path, Tensor]:
    """Latents `[n, d]` of each of `entries` that makes a unit, on the CPU."""
    latents: dict[Path, Tensor] = {}
    for entry, speech in zip(entries, recordings(recipe, entries), strict=True):
        for _, found in each_latents(teacher, [speech]):
            if not bool(found.isfinite().all()):
                raise UserError(f"{teacher.name} makes NaN or Inf of {entry.path}: look at it, or leave it out")
            latents[entry.path] = found
    return latents


def _drawn(means: Collection[Tensor], *, seed: int) -> Tensor:
    """All of `means`, or about so many that k-means is quick."""
    generator = torch.Generator().manual_seed(seed)
    share = MOST_VECTORS / sum(map(len, means))
    return torch.cat([mean[torch.rand(len(mean), generator=generator) < share] for mean in means])
