"""Recordings written down in units: one line of JSON each, or a row of a Parquet table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from codec.core.atomic import atomic_path
from codec.core.errors import UserError
from codec.core.runs import find_runs
from codec.data.audio import read_audio
from codec.data.manifest import Entry
from codec.models.segmented import segmented_units
from codec.models.units import UnitModel


@dataclass(frozen=True)
class UnitLine:
    """One recording in units.

    Attributes:
        path: as it was given.
        model, fingerprint: whose units they are.
        frame_rate: units per second.
        units: one for every frame.
        runs: the same without repetitions; `starts_s` and `stops_s` say where each lies, in seconds.
    """

    path: str
    model: str
    fingerprint: str
    frame_rate: float
    units: list[int]
    runs: list[int]
    starts_s: list[float]
    stops_s: list[float]


@dataclass(frozen=True)
class Written:
    """What was written, and why not the rest: reasons by path."""

    num_written: int
    failures: dict[str, str]


def write_units(
    model: UnitModel,
    entries: Sequence[Entry],
    target: Path,
    *,
    penalty: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Write `entries` in the units of `model` to `target`, in order, whole or not at all: `.jsonl` or `.parquet`.

    A recording that cannot be read has no line.

    Args:
        penalty: of a change of units, as in `segmented_units`: more of it, fewer and longer runs.

    Raises:
        UserError: another suffix, Parquet without pyarrow, or no recording could be read.
    """
    writers = {".jsonl": _write_lines, ".parquet": _write_table}
    if target.suffix not in writers:
        raise UserError(f"{target} ends in {target.suffix!r}: units are written to .jsonl or .parquet")
    failures: dict[str, str] = {}
    with atomic_path(target) as unfinished:
        num_written = writers[target.suffix](unfinished, _lines(model, entries, penalty, failures, progress))
        if not num_written:
            path, reason = next(iter(failures.items()))
            raise UserError(f"no recording could be read; the first, {path}: {reason}")
    return Written(num_written, failures)


@torch.inference_mode()
def _lines(
    model: UnitModel,
    entries: Sequence[Entry],
    penalty: float,
    failures: dict[str, str],
    progress: Callable[[int, int], None] | None,
) -> Iterator[UnitLine]:
    device = next(model.buffers()).device
    for number, entry in enumerate(entries, 1):
        try:
            signal, _ = read_audio(entry.path, sample_rate=model.config.sample_rate, channels=1)
            latents = model.latents(signal[None].to(device))
            units = segmented_units(model, latents, penalty=penalty)[0].cpu().numpy()
        except UserError as error:
            failures[str(entry.path)] = str(error)
        else:
            runs = find_runs(units)
            yield UnitLine(
                path=str(entry.path),
                model=model.name,
                fingerprint=model.fingerprint,
                frame_rate=model.frame_rate,
                units=units.tolist(),
                runs=runs.units.tolist(),
                starts_s=(runs.starts / model.frame_rate).tolist(),
                stops_s=(runs.stops / model.frame_rate).tolist(),
            )
        if progress:
            progress(number, len(entries))


def _write_lines(path: Path, lines: Iterator[UnitLine]) -> int:
    number = 0
    with open(path, "w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(asdict(line)) + "\n")
            number += 1
    return number


def _write_table(path: Path, lines: Iterator[UnitLine]) -> int:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError("Parquet needs pyarrow, which is not installed: pip install pyarrow, or take .jsonl") from None
    rows: list[dict[str, Any]] = [asdict(line) for line in lines]
    if rows:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return len(rows)
