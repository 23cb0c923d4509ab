"""The corpus through the model, once: its codes in `codes`, memory-mapped, for the priors to learn from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice

from pipeline import CLASSES_FILE, STAGES, Recipe
from rich.progress import track

from codec.core.atomic import atomic_write_text
from codec.core.errors import UserError
from codec.data.code_store import INDEX_FILE, CodeRows, extracted, write_codes
from codec.data.loader import TrainingBatches, ValidationBatches, train_entries, validation_entries
from codec.models.base import CodecModel
from codec.train.stages import codes_of


def main(config: str | None, overrides: list[str], run: str | None, resume: bool) -> None:
    """Store the codes whole or not at all: a killed extraction starts anew, and one that is done is let be if `resume`.

    Args: as of the stage `train`; `config` is the run's own if None.

    Raises:
        UserError: there are codes already, and not `resume`, or those of another model.
    """
    folder, recipe, model = STAGES.trained_run(config, overrides, run)
    target = folder / "codes"
    done = (target / INDEX_FILE).exists()
    if done and not resume:
        raise UserError(f"{target} already holds codes: pass --resume to keep them, or delete it")
    if not done:
        labels = _labels(recipe)
        classes = {label: number for number, label in enumerate(sorted(set(labels.values())))}
        atomic_write_text(target / CLASSES_FILE, json.dumps(list(classes)))
        write_codes(
            target,
            _rows(recipe, model, (lambda path: classes[labels[path]]) if classes else None),
            model=model.name,
            fingerprint=model.fingerprint,
            levels=model.levels,
            num_classes=len(classes) or None,
        )
    store = codes_of(model, folder)
    sizes = ", ".join("x".join(map(str, level.size)) for level in store.index.levels)
    print(f"{target}: {len(store.index.names)} items of {sizes} codes")


def _rows(recipe: Recipe, model: CodecModel, label_of: Callable[[str], int] | None) -> Iterator[CodeRows]:
    """Codes of crops of the training files, drawn at random, then of the validation files' centres."""
    codes, media = recipe.codes, recipe.model.media
    cut = {"crop": codes.crop, "validation_crop": codes.crop, "validation_items": None, "batch_size": codes.batch_size}
    data = recipe.data.model_copy(update=cut)
    training = TrainingBatches(data, media, seed=recipe.loop.seed)
    steps = -(-(codes.items or training.items_per_epoch) // codes.batch_size)
    drawn = (batch for _, batch in islice(training.prefetch(), steps))
    batches = track(drawn, "extracting", total=steps)
    yield from extracted(batches, model.encode, split="train", label_of=label_of)
    yield from extracted(ValidationBatches(data, media), model.encode, split="validation", label_of=label_of)


def _labels(recipe: Recipe) -> dict[str, str]:
    """The class of every picture by its path; nothing if there are none."""
    if not recipe.codes.classes:
        return {}
    data, media = recipe.data, recipe.model.media
    entries = (*train_entries(data, media), *validation_entries(data, media))
    labels = {str(entry.path): str((entry.model_extra or {}).get("label") or "") for entry in entries}
    if missing := [path for path, label in labels.items() if not label]:
        raise UserError(f"{missing[0]} has no label in its manifest: add them, or take codes.classes=false")
    return labels
