"""New pictures from the priors, and held-out ones level by level, in `samples`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import torch
from pipeline import CLASSES_FILE, STAGES, Sampling
from torch import Tensor
from torchvision.utils import make_grid

from codec.checkpoint.prior import load_prior
from codec.core.errors import UserError
from codec.data.image import write_image
from codec.data.loader import validation_entries
from codec.data.manifest import Manifest
from codec.eval.features import load_network
from codec.eval.grid import write_grid
from codec.models.base import CodecModel
from codec.priors.base import NeuralPrior
from codec.priors.hierarchy import sample_levels
from codec.priors.rejection import sample_recognised
from codec.train.stages import check_fingerprint, codes_of


def main(config: str | None, overrides: list[str], run: str | None, resume: bool) -> None:
    """Draw pictures: `samples/grid.png` and one file each; the same seed draws the same ones.

    Held-out pictures, reconstructed from ever more levels, are in `samples/levels.png`. What is done is let be if
    `resume`.

    Args: as of the stage `train`; `config` is the run's own if None.

    Raises:
        UserError: priors are missing or those of another model, a class is unknown, needed or not there, or there are
            pictures already, and not `resume`.
    """
    folder, recipe, model = STAGES.trained_run(config, overrides, run)
    priors = [_prior(folder / "priors" / name, model) for name in recipe.priors]
    label = _label(recipe.sampling.label, codes_of(model, folder).folder)
    grid = folder / "samples" / "grid.png"
    if grid.exists():
        if not resume:
            raise UserError(f"{grid.parent} already holds pictures: pass --resume to keep them, or delete it")
        return
    pictures = model.decode(_codes(recipe.sampling, model, priors, label))
    for number, picture in enumerate(pictures):
        write_image(folder / "samples" / f"{number:03d}.png", picture)
    if held_out := validation_entries(recipe.data, recipe.model.media):
        write_grid(grid.with_name("levels.png"), model, Manifest(recipe.data.train[0], held_out))
    columns = round(len(pictures) ** 0.5)
    write_image(grid, make_grid(pictures, nrow=columns, padding=4, pad_value=1.0))
    print(f"{grid}: {len(pictures)} pictures")


def _prior(path: Path, model: CodecModel) -> NeuralPrior:
    if not path.exists():
        raise UserError(f"there is no prior in {path}: train it first, with --stage prior")
    prior = cast(NeuralPrior, load_prior(path, device=model.histogram.device))
    check_fingerprint(prior.model_fingerprint, model, what=path)
    return prior


def _codes(sampling: Sampling, model: CodecModel, priors: list[NeuralPrior], label: int | None) -> tuple[Tensor, ...]:
    """Codes of `sampling.count` pictures, of all levels; the likeliest of the candidates if there is a classifier."""
    device = model.histogram.device
    generator = torch.Generator(device).manual_seed(sampling.seed)

    def draw(labels: Tensor) -> tuple[Tensor, ...]:
        return sample_levels(
            priors,
            (sampling.size, sampling.size),
            generator=generator,
            labels=labels,
            batch=len(labels),
            temperature=sampling.temperature,
            top_k=sampling.top_k,
        )

    if sampling.classifier is None:
        labels = torch.full((sampling.count,), label or 0, device=device)
        parts = [draw(part) for part in labels.split(sampling.batch_size)]
        return tuple(torch.cat(level) for level in zip(*parts, strict=True))
    if label is None:
        raise UserError("sampling.classifier needs a class to look for: extract with codes.classes=true")
    classifier = load_network(sampling.classifier).to(device).eval()
    return sample_recognised(
        draw,
        lambda codes: classifier(model.decode(codes)),
        label=label,
        keep=sampling.count,
        candidates=sampling.candidates,
        batch=sampling.batch_size,
        device=device,
    ).codes


def _label(name: str | None, folder: Path) -> int | None:
    """The number of the class `name`, None if the codes have no classes."""
    classes = json.loads((folder / CLASSES_FILE).read_text(encoding="utf-8"))
    if name in classes:
        return classes.index(name)
    if not classes and name is None:
        return None
    known = f"wanted one of {', '.join(classes[:10])}{', ...' * (len(classes) > 10)}" if classes else "leave it out"
    raise UserError(f"sampling.label is {name!r}; {folder} has {len(classes)} classes: {known}")
