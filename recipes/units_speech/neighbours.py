"""A teacher for `masked.yaml`: recordings written down in units of what they have in common with others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from pipeline import DEFAULT_RUN, Recipe, new_run
from rich.progress import track
from torch import Tensor

from codec.checkpoint.units import load_units
from codec.checkpoint.weights import fingerprint_of
from codec.core.errors import UserError
from codec.data.audio import read_audio
from codec.data.loader import train_entries, validation_entries
from codec.data.manifest import Entry
from codec.files.unit_lines import UnitSource, write_lines
from codec.models.masked_units import MaskedUnitsConfig
from codec.models.units import UnitModel
from codec.quantize.lookup import nearest
from codec.train.clusters import MOST_VECTORS, find_codebook
from codec.train.neighbours import draw_moments, neighbour_means


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
    if resume:
        raise UserError("the stage neighbours has nothing to resume: leave --resume out")
    _, recipe = new_run(config, overrides, run, resume=False)
    num_units, teacher = _asked_for(recipe)
    entries = train_entries(recipe.data, recipe.media) + validation_entries(recipe.data, recipe.media)
    listened = _latents(teacher, entries)
    latents = list(listened.values())
    moments = draw_moments(latents, seed=recipe.loop.seed)
    means = list(track(neighbour_means(latents, moments), description="comparing", total=len(latents)))
    codebook = find_codebook(_drawn(means, seed=recipe.loop.seed), num_units, seed=recipe.loop.seed)
    found = UnitSource(
        f"{teacher.name}-neighbours", fingerprint_of({}, {"codebook": codebook}), num_units, teacher.frame_rate
    )
    lines = (found.line(path, nearest(mean, codebook).numpy()) for path, mean in zip(listened, means, strict=True))
    print(f"{target}: {write_lines(lines, target)} recordings in {num_units} units")


def _asked_for(recipe: Recipe) -> tuple[int, UnitModel]:
    """How many units are wanted, and the model whose latents they are found in."""
    if not isinstance(recipe.model, MaskedUnitsConfig):
        raise UserError(f"a model of kind {recipe.model.kind} learns from no teacher: take --config masked.yaml")
    if recipe.teacher is None:
        raise UserError("no model to find units with: name a trained one (teacher=FOLDER)")
    return recipe.model.num_targets, load_units(recipe.teacher, device=recipe.loop.device)


def _latents(teacher: UnitModel, entries: Sequence[Entry]) -> dict[Path, Tensor]:
    """Latents `[n, d]` of each of `entries` that makes a unit, on the CPU."""
    device = next(teacher.buffers()).device
    latents: dict[Path, Tensor] = {}
    for entry in track(entries, description="listening"):
        speech, _ = read_audio(entry.path, sample_rate=teacher.config.sample_rate, channels=1)
        if speech.shape[1] >= teacher.config.downsample_factor:
            latents[entry.path] = teacher.latents(speech[None].to(device))[0].T.float().cpu()
    return latents


def _drawn(means: Sequence[Tensor], *, seed: int) -> Tensor:
    """All of `means`, or so many that k-means is quick."""
    rows = torch.cat(list(means))
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:MOST_VECTORS]]
