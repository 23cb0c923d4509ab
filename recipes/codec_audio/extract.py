"""The corpus through the model, once: its codes in `codes`, memory-mapped, for the prior to learn from.

A model that searches chooses other codes with few codebooks than with all, so a number of them is drawn for every row,
and the prior learns all rates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from pipeline import STAGES, Extraction, signal_of
from rich.progress import track
from torch import Tensor

from codec.core.errors import UserError
from codec.data.code_store import INDEX_FILE, CodeRows, write_codes
from codec.data.loader import train_entries, validation_entries
from codec.data.manifest import Entry
from codec.models.base import CodecModel

WHOLE = 0.3  # of the rows are coded with all codebooks,
BIAS = 1.5  # the others with the share u^BIAS of them, u uniform: what quantizer dropout is in our presets


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
    data = recipe.data
    splits = {"train": train_entries(data, model.media), "validation": validation_entries(data, model.media)}
    rows = (row for split, entries in splits.items() for row in _rows(model, entries, split, recipe.codes))
    store = write_codes(target, rows, model=model.name, fingerprint=model.fingerprint, levels=model.levels)
    print(f"{target}: {len(store.index.names)} rows of {recipe.codes.frames} frames")


def _rows(model: CodecModel, entries: tuple[Entry, ...], split: str, extraction: Extraction) -> Iterator[CodeRows]:
    """Rows of codes, running on from recording to recording; each has the name of the one that it ends in.

    After a full row another number of codebooks is drawn, and the rest of the recording coded with that.
    """
    draw, frames = np.random.default_rng(extraction.seed), extraction.frames
    active, held = _number_of_codebooks(model.rates, draw), None
    for entry in track(entries, f"extracting {split}"):
        signal = signal_of(model, entry)
        codes = _codes(model, signal, active)
        held = codes if held is None else torch.cat((held, codes), 2)
        count, rest = divmod(held.shape[2], frames)
        if count:
            rows = held[:, :, : count * frames].unflatten(2, (count, frames)).movedim(2, 0).flatten(0, 1)
            yield CodeRows((rows,), (str(entry.path),) * count, split)
            active = _number_of_codebooks(model.rates, draw)
            held = _codes(model, signal, active)[:, :, codes.shape[2] - rest :]


def _number_of_codebooks(rates: Sequence[int], draw: np.random.Generator) -> int:
    """All in `WHOLE` of the rows, in the others mostly few."""
    whole, share = draw.random(2)
    return rates[-1] if whole < WHOLE else rates[int(share**BIAS * len(rates))]


def _codes(model: CodecModel, signal: Tensor, active: int) -> Tensor:
    """The codes `[1, q, frames]` of a recording `[1, channels, samples]` in the first codebooks, -1 in the others."""
    (codes,) = model.encode(signal, num_active=active)
    return F.pad(codes.cpu(), (0, 0, 0, model.rates[-1] - active), value=-1)
