"""Recordings written down in units, as targets of training: the units of every crop."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from codec.core.errors import UserError
from codec.core.lines import numbered_lines

UNTOLD = -1
"""The target of a place that was not written down."""


@dataclass(frozen=True)
class WrittenUnits:
    """What `codec units encode` writes, for a model that hears the same recordings.

    Attributes:
        name: the file.
        num_units: how many there are.
        samples_per_unit: at the rate that recordings are heard at.
        units: `[n]` of each recording, by its path.
    """

    name: str
    num_units: int
    samples_per_unit: float
    units: Mapping[str, np.ndarray]

    def targets(self, paths: Sequence[Path], starts: Sequence[int], *, size: int) -> Tensor:
        """Units `[b, n]`, int64, of crops of `size` samples that begin at `starts`, to the nearest unit."""
        targets = torch.full((len(paths), int(size / self.samples_per_unit)), UNTOLD)
        for row, path, start in zip(targets, paths, starts, strict=True):
            first = round(start / self.samples_per_unit)
            found = self.units.get(str(path), np.empty(0, np.int32))[first : first + len(row)]
            row[: len(found)] = torch.from_numpy(found.astype(np.int64))
        return targets

    def check_covers(self, paths: Iterable[Path]) -> None:
        """Raises UserError if none of `paths` was written down."""
        if not any(str(path) in self.units for path in paths):
            raise UserError(f"{self.name} has no recording that is trained on: write the units of the same manifest")


def read_written_units(source: Path, *, sample_rate: int) -> WrittenUnits:
    """Read a .jsonl file of `codec units encode`, of recordings that are heard at `sample_rate` Hz.

    Raises:
        UserError: it is something else, or holds units of several models.
    """
    units: dict[str, np.ndarray] = {}
    kinds: set[tuple[str, int, float]] = set()
    for number, text in numbered_lines(source):
        try:
            line = json.loads(text)
            kinds.add((str(line["fingerprint"]), int(line["num_units"]), float(line["frame_rate"])))
            found = units[str(line["path"])] = np.array(line["units"], dtype=np.int32)
            sound = found.ndim == 1 and bool(((found >= 0) & (found < line["num_units"])).all())
        except (ValueError, KeyError, TypeError, OverflowError):
            sound = False
        if not sound:
            raise UserError(f"{source}, line {number} is not what `codec units encode` writes to .jsonl")
    if len(kinds) != 1:
        wrong = "units of several models" if kinds else "no units"
        raise UserError(f"{source} holds {wrong}: give what one `codec units encode` wrote")
    (_, num_units, frame_rate) = kinds.pop()
    return WrittenUnits(str(source), num_units, sample_rate / frame_rate, units)
