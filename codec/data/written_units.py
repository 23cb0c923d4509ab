"""Recordings written down in units, as targets of training: the units of every crop."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from codec.core.errors import UserError
from codec.core.lines import numbered_lines
from codec.data.manifest import Entry

UNTOLD = -1
"""The target of a place that was not written down."""


@dataclass(frozen=True)
class WrittenUnits:
    """What `codec units encode` writes, for a model that hears the same recordings.

    Attributes:
        name: the file.
        num_units: how many there are.
        samples_per_unit: at the rate that recordings are heard at.
        units: `[n]` of each recording, by its whole path.
    """

    name: str
    num_units: int
    samples_per_unit: int
    units: Mapping[str, np.ndarray]

    def covered(self, entries: Sequence[Entry], *, purpose: str) -> tuple[Entry, ...]:
        """Those of `entries`, which are for `purpose`, that were written down.

        Raises:
            UserError: there is none, though there are entries.
        """
        found = tuple(entry for entry in entries if os.path.abspath(entry.path) in self.units)
        if entries and not found:
            raise UserError(
                f"{self.name} has none of the recordings for {purpose}, the first being {entries[0].path}: "
                "write down those, too"
            )
        return found

    def targets(self, paths: Sequence[Path], starts: Sequence[int], *, size: int) -> Tensor:
        """Units `[b, n]`, int64, of crops of `size` samples that begin at `starts`, to the nearest unit."""
        targets = torch.full((len(paths), size // self.samples_per_unit), UNTOLD)
        for row, path, start in zip(targets, paths, starts, strict=True):
            first = round(start / self.samples_per_unit)
            found = self.units[os.path.abspath(path)][first : first + len(row)]
            row[: len(found)] = torch.from_numpy(found.astype(np.int64))
        return targets


def read_written_units(source: Path, *, sample_rate: int) -> WrittenUnits:
    """Read a .jsonl file of `codec units encode`, of recordings that are heard at `sample_rate` Hz.

    Raises:
        UserError: it is something else, holds units of several models or a recording twice, or no whole number of
            samples has a unit.
    """
    units: dict[str, np.ndarray] = {}
    kinds: set[tuple[str, int, float]] = set()
    for number, text in numbered_lines(source):
        place = f"{source}, line {number}"
        try:
            line = json.loads(text)
            kind = (str(line["fingerprint"]), int(line["num_units"]), float(line["frame_rate"]))
            path, found = os.path.abspath(line["path"]), np.array(line["units"])
        except (ValueError, KeyError, TypeError, OverflowError):
            raise UserError(f"{place} is not what `codec units encode` writes to .jsonl") from None
        whole = found.ndim == 1 and (found.dtype.kind == "i" or not len(found))
        if not whole or not ((found >= 0) & (found < kind[1])).all() or not 0 < kind[2] < sample_rate:
            raise UserError(f"{place} is not what `codec units encode` writes to .jsonl")
        if path in units:
            raise UserError(f"{place} has {line['path']} a second time: leave one out")
        kinds.add(kind)
        units[path] = found.astype(np.int32)
    if len(kinds) != 1:
        wrong = "units of several models" if kinds else "no units"
        raise UserError(f"{source} holds {wrong}: give what one `codec units encode` wrote")
    (_, num_units, frame_rate) = kinds.pop()
    samples_per_unit = round(sample_rate / frame_rate)
    if abs(samples_per_unit - sample_rate / frame_rate) > 1e-6 * samples_per_unit:
        raise UserError(
            f"{source} has {frame_rate:g} units a second, of no whole number of samples at {sample_rate} Hz"
        )
    return WrittenUnits(str(source), num_units, samples_per_unit, units)
