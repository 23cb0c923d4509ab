"""Rows of tokens in files that others read: npz for numpy, Parquet for tables (docs/tokens.md)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from codec.core.config import Config
from codec.core.errors import UserError
from codec.core.grid import Grid

ColumnKind = Literal["string", "int", "float", "bool", "json"]
ShardFormat = Literal["npz", "parquet"]
OWN_COLUMNS = ("path", "num_samples", "sample_rate", "channels")
_DAMAGE = (BadZipFile, zlib.error, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError)


class Layout(Config):
    """What is in every shard.

    Attributes:
        levels: coarse to fine, each with as many codebooks as are in use.
        columns: that were carried along, with their kinds.
    """

    levels: tuple[Grid, ...]
    columns: dict[str, ColumnKind]

    @property
    def ratios(self) -> tuple[int, ...]:
        """Codes of each level for one of the coarsest."""
        return tuple(self.levels[0].downsample_factor // level.downsample_factor for level in self.levels)


@dataclass(frozen=True)
class TokenRow:
    """One recording.

    Attributes:
        path: from the folder of the manifest, or the folder that was tokenized.
        codes: a level each, coarse to fine, `[q, frames]`.
        num_samples: per channel, at `sample_rate` (Hz); both of the recording, as are `channels`, after mixing down.
        columns: what the manifest says of it; None where it says nothing.
    """

    path: str
    codes: tuple[npt.NDArray[np.integer], ...]
    num_samples: int
    sample_rate: int
    channels: int
    columns: dict[str, Any]


def code_dtype(codebook_size: int) -> np.dtype:
    """Of codes on disk."""
    return np.dtype(np.uint16 if codebook_size <= 1 << 16 else np.uint32)


def column_kind(values: Sequence[Any]) -> ColumnKind:
    """The plainest kind that holds all `values`, None apart; JSON text holds any."""
    kinds: dict[type, ColumnKind] = {str: "string", bool: "bool", int: "int", float: "float"}
    found: set[ColumnKind] = {kinds.get(type(value), "json") for value in values if value is not None}
    if found == {"int", "float"}:
        return "float"
    return found.pop() if len(found) == 1 else "json"


def _write_npz(path: Path, rows: Sequence[TokenRow], layout: Layout) -> None:
    lines = [json.dumps({**{name: getattr(row, name) for name in OWN_COLUMNS}, **row.columns}) + "\n" for row in rows]
    arrays: dict[str, Any] = {f"level{index}": codes for index, codes in enumerate(_joined(rows, layout))}
    frames = np.array([row.codes[0].shape[1] for row in rows], dtype=np.int64)
    np.savez(path, frames=frames, rows=np.frombuffer("".join(lines).encode(), dtype=np.uint8), **arrays)


def _read_npz(path: Path, layout: Layout) -> Iterator[TokenRow]:
    with np.load(path, allow_pickle=False) as shard:
        levels = [shard[f"level{index}"] for index in range(len(layout.levels))]
        offsets = np.concatenate(([0], np.cumsum(shard["frames"])))
        lines = shard["rows"].tobytes().decode().split("\n")
    wanted = [
        (ratio * offsets[-1], level.num_codebooks) for level, ratio in zip(layout.levels, layout.ratios, strict=True)
    ]
    if [level.shape for level in levels] != wanted or len(lines) != len(offsets):
        raise ValueError("its arrays do not agree")
    for index in range(len(offsets) - 1):
        facts = json.loads(lines[index])
        codes = tuple(
            level[ratio * offsets[index] : ratio * offsets[index + 1]].T
            for level, ratio in zip(levels, layout.ratios, strict=True)
        )
        own = {name: facts[name] for name in OWN_COLUMNS}
        yield TokenRow(codes=codes, columns={name: facts.get(name) for name in layout.columns}, **own)


def _count_npz(path: Path) -> int:
    with np.load(path, allow_pickle=False) as shard:
        return len(shard["frames"])


def _write_parquet(path: Path, rows: Sequence[TokenRow], layout: Layout) -> None:
    arrow, parquet = _pyarrow()
    types = {
        "string": arrow.string(),
        "json": arrow.string(),
        "int": arrow.int64(),
        "float": arrow.float64(),
        "bool": arrow.bool_(),
    }
    own = {"path": "string", "num_samples": "int", "sample_rate": "int", "channels": "int"}
    table = {name: arrow.array([getattr(row, name) for row in rows], types[own[name]]) for name in OWN_COLUMNS}
    frames = np.array([row.codes[0].shape[1] for row in rows], dtype=np.int32)
    offsets = np.concatenate((np.zeros(1, np.int32), np.cumsum(frames, dtype=np.int32)))
    joined = zip(_joined(rows, layout), layout.levels, layout.ratios, strict=True)
    for index, (codes, level, ratio) in enumerate(joined):
        inner = arrow.FixedSizeListArray.from_arrays(arrow.array(codes.ravel()), level.num_codebooks)
        table[f"level{index}"] = arrow.ListArray.from_arrays(arrow.array(offsets * ratio), inner)
    for name, kind in layout.columns.items():
        values = [row.columns.get(name) for row in rows]
        if kind == "json":
            values = [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]
        table[name] = arrow.array(values, types[kind])
    parquet.write_table(arrow.table(table), path)


def _read_parquet(path: Path, layout: Layout) -> Iterator[TokenRow]:
    _, parquet = _pyarrow()
    with parquet.ParquetFile(path) as file:
        table = file.read()
    levels, offsets = [], []
    for index, level in enumerate(layout.levels):
        column = table[f"level{index}"].combine_chunks()
        levels.append(column.flatten().flatten().to_numpy().reshape(-1, level.num_codebooks))
        offsets.append(np.concatenate(([0], np.cumsum(column.value_lengths().to_numpy()))))
    facts = table.select([*OWN_COLUMNS, *layout.columns]).to_pylist()
    for index, row in enumerate(facts):
        codes = tuple(level[edges[index] : edges[index + 1]].T for level, edges in zip(levels, offsets, strict=True))
        columns = {name: row[name] for name in layout.columns}
        for name, kind in layout.columns.items():
            if kind == "json" and columns[name] is not None:
                columns[name] = json.loads(columns[name])
        yield TokenRow(codes=codes, columns=columns, **{name: row[name] for name in OWN_COLUMNS})


def _count_parquet(path: Path) -> int:
    _, parquet = _pyarrow()
    with parquet.ParquetFile(path) as file:
        return file.metadata.num_rows


def _joined(rows: Sequence[TokenRow], layout: Layout) -> list[np.ndarray]:
    """Codes of all rows one after the other, per level `[frames, q]`."""
    return [
        np.concatenate(
            [np.empty((0, level.num_codebooks), code_dtype(level.codebook_size)), *(row.codes[index].T for row in rows)]
        )
        for index, level in enumerate(layout.levels)
    ]


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError("Parquet needs pyarrow, which is not installed: pip install pyarrow, or choose npz") from None
    return pyarrow, pyarrow.parquet


@dataclass(frozen=True)
class Shards:
    """Shards of one format.

    Attributes:
        write: rows to a file.
        rows: of an undamaged file; `num_rows` how many it has.
        require: refuses if that cannot be done here.
    """

    write: Callable[[Path, Sequence[TokenRow], Layout], None]
    rows: Callable[[Path, Layout], Iterator[TokenRow]]
    num_rows: Callable[[Path], int]
    require: Callable[[], object]

    def read(self, path: Path, layout: Layout) -> list[TokenRow]:
        """All rows.

        Raises:
            UserError: the file is damaged.
        """
        self.require()
        with _undamaged(path):
            return list(self.rows(path, layout))

    def count(self, path: Path) -> int:
        """How many rows there are, as the file says without being read whole.

        Raises:
            UserError: the file is damaged.
        """
        self.require()
        with _undamaged(path):
            return self.num_rows(path)


@contextmanager
def _undamaged(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is damaged ({reason}): delete it and run codec tokenize again") from None


SHARDS: dict[ShardFormat, Shards] = {
    "npz": Shards(_write_npz, _read_npz, _count_npz, lambda: None),
    "parquet": Shards(_write_parquet, _read_parquet, _count_parquet, _pyarrow),
}
