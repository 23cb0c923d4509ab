"""Recordings written down in units: one line of JSON each, or a row of a Parquet table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from codec.core.atomic import atomic_path
from codec.core.errors import UserError
from codec.core.runs import find_runs
from codec.core.wording import printable
from codec.data.manifest import Entry
from codec.files.each_recording import each_recording, encoded
from codec.models.units import UnitModel

_ROWS_AT_ONCE = 256  # that are kept in memory for a table


@dataclass(frozen=True)
class UnitLine:
    r"""One recording in units.

    Attributes:
        path: as it was given; in Parquet, what is not text in a file's name is written \udcff.
        model, fingerprint: whose units they are.
        num_units: how many there are.
        frame_rate: units per second.
        units: one for every frame.
        runs: the same without repetitions; `starts_s` and `stops_s` say where each lies, in seconds.
    """

    path: str
    model: str
    fingerprint: str
    num_units: int
    frame_rate: float
    units: list[int]
    runs: list[int]
    starts_s: list[float]
    stops_s: list[float]


@dataclass(frozen=True)
class UnitSource:
    """Whose units recordings are written down in; attributes as of `UnitLine`."""

    model: str
    fingerprint: str
    num_units: int
    frame_rate: float

    def line(self, path: Path, units: np.ndarray) -> UnitLine:
        """A recording in `units` `[n]`."""
        runs = find_runs(units)
        return UnitLine(
            path=str(path),
            **asdict(self),
            units=units.tolist(),
            runs=runs.units.tolist(),
            starts_s=(runs.starts / self.frame_rate).tolist(),
            stops_s=(runs.stops / self.frame_rate).tolist(),
        )


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
    failures: dict[str, str] = {}
    source = UnitSource(model.name, model.fingerprint, model.codebook_size, model.frame_rate)

    def line(entry: Entry) -> UnitLine:
        return source.line(entry.path, encoded(model, entry, penalty=penalty).units)

    lines = each_recording(entries, line, failures=failures, progress=progress)
    return Written(write_lines(lines, target), failures)


def write_lines(lines: Iterator[UnitLine], target: Path) -> int:
    """Write `lines` to `target`, whole or not at all, and return their number; errors as `write_units`."""
    writers = {".jsonl": _write_lines, ".parquet": _write_table}
    if target.suffix not in writers:
        raise UserError(f"{target} ends in {target.suffix!r}: units are written to .jsonl or .parquet")
    with atomic_path(target) as unfinished:
        return writers[target.suffix](unfinished, lines)


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
    strings, integers, seconds = pyarrow.string(), pyarrow.list_(pyarrow.int64()), pyarrow.list_(pyarrow.float64())
    schema = pyarrow.schema(
        [(name, strings) for name in ("path", "model", "fingerprint")]
        + [("num_units", pyarrow.int64()), ("frame_rate", pyarrow.float64()), ("units", integers), ("runs", integers)]
        + [("starts_s", seconds), ("stops_s", seconds)]
    )
    number = 0
    with pyarrow.parquet.ParquetWriter(path, schema) as file:
        while rows := [asdict(line) | {"path": printable(line.path)} for line in islice(lines, _ROWS_AT_ONCE)]:
            file.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
            number += len(rows)
    return number
