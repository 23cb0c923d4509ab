"""Who speaks: names of speakers as numbers, for models that are told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from codec.data.manifest import Entry

UNKNOWN = "unknown"
"""The speaker of recordings that do not name theirs, and whoever a model has not met."""


def speaker_names(entries: Iterable[Entry]) -> tuple[str, ...]:
    """The names of the speakers of `entries`, sorted, without the unknown one."""
    return tuple(sorted({entry.speaker for entry in entries if entry.speaker} - {UNKNOWN}))


def speaker_numbers(entries: Sequence[Entry], speakers: Sequence[str]) -> Tensor:
    """The place `[b]`, int64, of each entry's speaker in `speakers`, or of the unknown one, which is among them."""
    places = {name: place for place, name in enumerate(speakers)}
    return torch.tensor([places.get(entry.speaker or UNKNOWN, places[UNKNOWN]) for entry in entries])
