"""The corpus through the model, once: its codes in `codes`, memory-mapped, for the prior to learn from."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from pipeline import STAGES
from rich.progress import track
from torch import Tensor

from codec.core.errors import UserError
from codec.data.audio import read_audio
from codec.data.code_store import INDEX_FILE, CodeRows, write_codes
from codec.data.loader import train_entries, validation_entries
from codec.data.manifest import Entry
from codec.models.base import CodecModel
from codec.models.media import AudioMedia


def main(config: str | None, overrides: list[str], run: str | None, resume: bool) -> None:
    """Store the codes whole or not at all: a killed extraction starts anew, and one that is done is let be if `resume`.

    Args: as of the stage `train`; `config` is the run's own if None.

    Raises:
        UserError: there are codes already, and not `resume`.
    """
    folder, recipe, model = STAGES.trained_run(config, overrides, run)
    target = folder / "codes"
    if (target / INDEX_FILE).exists():
        if not resume:
            raise UserError(f"{target} already holds codes: pass --resume to keep them, or delete it")
        return
    data, frames = recipe.data, recipe.codes.frames
    splits = {"train": train_entries(data, model.media), "validation": validation_entries(data, model.media)}
    rows = (row for split, entries in splits.items() for row in _rows(model, entries, split, frames))
    store = write_codes(target, rows, model=model.name, fingerprint=model.fingerprint, levels=model.levels)
    print(f"{target}: {len(store.index.names)} rows of {frames} frames")


def _rows(model: CodecModel, entries: tuple[Entry, ...], split: str, frames: int) -> Iterator[CodeRows]:
    """Rows of `frames` codes, running on from recording to recording; each has the name of the one that it ends in."""
    held: Tensor | None = None
    for entry in track(entries, f"extracting {split}"):
        codes = _codes(model, entry)
        held = codes if held is None else torch.cat((held, codes), 2)
        count = held.shape[2] // frames
        if count:
            rows = held[:, :, : count * frames].unflatten(2, (count, frames)).movedim(2, 0).flatten(0, 1)
            yield CodeRows((rows,), (str(entry.path),) * count, split)
            held = held[:, :, count * frames :]


def _codes(model: CodecModel, entry: Entry) -> Tensor:
    """The codes `[1, q, frames]` of a recording."""
    assert isinstance(model.media, AudioMedia)
    signal, _ = read_audio(entry.path, sample_rate=model.media.sample_rate, channels=model.media.channels)
    (codes,) = model.encode(signal[None])
    return codes.cpu()
