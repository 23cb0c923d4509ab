"""The codes of a corpus, extracted once: a memory-mapped array per level, and an index of what they are.

A store is a folder of `level0.npy`, `level1.npy`, ... (coarse to fine, `[n, q, *space]`, uint16 or uint32) and
`index.json`, which is written last: a folder without it holds no store. Codes of codebooks that an item does without
are -1, on the disk the largest number of the type.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from pydantic import PositiveInt
from torch import Tensor

from codec.core.atomic import atomic_path, atomic_write_text
from codec.core.config import Config, read_index
from codec.core.errors import UserError
from codec.core.grid import Grid, GridLike

INDEX_FILE = "index.json"
FORMAT = 1


class StoredLevel(Grid):
    """A level in the store, `size` codes per axis."""

    size: tuple[PositiveInt, ...]

    @property
    def dtype(self) -> np.dtype:
        """Of the codes on disk."""
        return np.dtype(np.uint16 if self.codebook_size < 1 << 16 else np.uint32)

    @property
    def absent(self) -> int:
        """What stands on disk for -1."""
        return int(np.iinfo(self.dtype).max)

    def shape(self, num_items: int) -> tuple[int, ...]:
        """Of the codes of so many items."""
        return (num_items, self.num_codebooks, *self.size)


class Index(Config):
    """What `index.json` holds; names, splits and labels have one entry per item.

    Attributes:
        model, fingerprint: of the model whose codes these are.
        num_classes: labels are 0 to `num_classes - 1`; None if there are none.
    """

    format: PositiveInt
    model: str
    fingerprint: str
    levels: tuple[StoredLevel, ...]
    num_classes: PositiveInt | None
    names: tuple[str, ...]
    splits: tuple[str, ...]
    labels: tuple[int, ...] | None


@dataclass(frozen=True)
class CodeRows:
    """Codes of a few items of one split.

    Attributes:
        codes: of every level, coarse to fine, `[b, q, *space]`; -1 where an item does without a codebook.
        names: of the files they are from, `labels` their classes, if they have any.
    """

    codes: tuple[Tensor, ...]
    names: tuple[str, ...]
    split: str
    labels: tuple[int, ...] | None = None


@dataclass(frozen=True)
class CodeStore:
    """An open store: `codes[level]` as it lies on the disk, from which `read` takes items."""

    folder: Path
    index: Index
    codes: tuple[np.ndarray, ...]

    def read(self, level: int, items: np.ndarray | int) -> np.ndarray:
        """Codes of a level of one item `[q, *space]` or of several `[b, q, *space]`, int64."""
        codes = self.codes[level][items].astype(np.int64)
        codes[codes == self.index.levels[level].absent] = -1
        return codes

    def items_of(self, split: str) -> np.ndarray:
        """Numbers of the items of `split`, in the order they were stored."""
        return np.flatnonzero(np.asarray(self.index.splits) == split)

    def without_classes(self) -> CodeStore:
        """The same codes for those who are not told the classes, such as decoders of files."""
        return replace(self, index=self.index.model_copy(update={"num_classes": None, "labels": None}))


def write_codes(
    folder: str | Path,
    rows: Iterable[CodeRows],
    *,
    model: str,
    fingerprint: str,
    levels: Sequence[GridLike],
    num_classes: int | None = None,
) -> CodeStore:
    """Store `rows` as they come, whole or not at all; memory holds one of them.

    Args:
        model, fingerprint: of the model whose codes these are; `levels` its levels.
        num_classes: of the labels, which every item then has.

    Raises:
        UserError: the folder holds a store, there are no rows, or they are not what was announced.
    """
    folder = Path(folder)
    if (folder / INDEX_FILE).exists():
        raise UserError(f"{folder} already holds codes: choose another folder, or delete it")
    names: list[str] = []
    splits: list[str] = []
    labels: list[int] = []
    with ExitStack() as files:
        arrays: list[_GrowingArray] = []
        for part in rows:
            if not arrays:
                stored = [_stored(level, codes) for level, codes in zip(levels, part.codes, strict=True)]
                paths = [files.enter_context(atomic_path(_level_path(folder, i))) for i in range(len(stored))]
                arrays = [
                    files.enter_context(_GrowingArray(path, level)) for path, level in zip(paths, stored, strict=True)
                ]
            for array, codes in zip(arrays, part.codes, strict=True):
                array.append(codes)
            _check_labels(part, num_classes)
            names += part.names
            splits += [part.split] * len(part.names)
            labels += part.labels or ()
        if not arrays:
            raise UserError(f"no codes for {folder}: the corpus has no items")
    index = Index(
        format=FORMAT,
        model=model,
        fingerprint=fingerprint,
        levels=tuple(array.level for array in arrays),
        num_classes=num_classes,
        names=tuple(names),
        splits=tuple(splits),
        labels=None if num_classes is None else tuple(labels),
    )
    atomic_write_text(folder / INDEX_FILE, json.dumps(index.model_dump(mode="json")) + "\n")
    return open_codes(folder)


def open_codes(folder: str | Path) -> CodeStore:
    """The store in `folder`.

    Raises:
        UserError: there is none, it is of a newer version, or its files are not what the index says.
    """
    folder = Path(folder)
    missing, damaged = "codes: extract them first", "extract the codes again"
    index = read_index(Index, folder / INDEX_FILE, newest=FORMAT, missing=missing, damaged=damaged)
    codes = tuple(_mapped(_level_path(folder, i), level, len(index.names)) for i, level in enumerate(index.levels))
    return CodeStore(folder, index, codes)


def count_codes(store: CodeStore, level: int, *, split: str = "train") -> np.ndarray:
    """How often each code of each codebook of a level is in a split: int64 `[q, K]`."""
    grid, items = store.index.levels[level], store.items_of(split)
    counts = np.zeros((grid.num_codebooks, grid.codebook_size), dtype=np.int64)
    for item in items:
        for row, codes in zip(counts, store.read(level, item), strict=True):
            row += np.bincount(codes[codes >= 0], minlength=grid.codebook_size)
    return counts


class SignalBatch(Protocol):
    """Signals with the files they came from."""

    @property
    def signal(self) -> Tensor: ...

    @property
    def names(self) -> tuple[str, ...]: ...


def extracted(
    batches: Iterable[SignalBatch],
    encode: Callable[[Tensor], tuple[Tensor, ...]],
    *,
    split: str,
    label_of: Callable[[str], int] | None = None,
) -> Iterator[CodeRows]:
    """The codes of `batches`, one batch at a time.

    Args:
        encode: codes of every level of a signal `[b, channels, *space]`.
        label_of: the class of the file of a name, if there are classes.
    """
    for batch in batches:
        labels = None if label_of is None else tuple(label_of(name) for name in batch.names)
        yield CodeRows(encode(batch.signal), batch.names, split, labels)


class _GrowingArray:
    """An `.npy` file that is written item after item, and told its length in the end."""

    def __init__(self, path: Path, level: StoredLevel):
        self.level, self.path, self.length = level, path, 0

    def __enter__(self) -> _GrowingArray:
        self._file: BinaryIO = open(self.path, "wb")
        self._header_bytes = self._write_header()
        return self

    def append(self, codes: Tensor) -> None:
        """Add `[b, q, *space]`."""
        array = codes.cpu().numpy()
        if array.shape != self.level.shape(len(array)):
            raise UserError(
                f"codes of shape {array.shape} among others of {self.level.shape(len(array))}: "
                "items of a store are of one size, set a crop"
            )
        array = np.where(array < 0, self.level.absent, array)
        self._file.write(array.astype(self.level.dtype).tobytes())
        self.length += len(array)

    def __exit__(self, *_: object) -> None:
        self._file.seek(0)
        assert self._write_header() == self._header_bytes, "numpy leaves room for the length to grow"
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def _write_header(self) -> int:
        """Its size in bytes, which does not depend on the length."""
        described = np.lib.format.dtype_to_descr(self.level.dtype)
        shape = self.level.shape(self.length)
        header = {"descr": described, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)
        return self._file.tell()


def _stored(level: GridLike, codes: Tensor) -> StoredLevel:
    return StoredLevel(**Grid.of(level).model_dump(), size=tuple(codes.shape[2:]))


def _check_labels(rows: CodeRows, num_classes: int | None) -> None:
    labels = rows.labels or ()
    if len(labels) != (0 if num_classes is None else len(rows.names)):
        raise UserError(f"{len(rows.names)} items have {len(labels)} labels, with num_classes {num_classes}")
    if wrong := [label for label in labels if not 0 <= label < (num_classes or 0)]:
        raise UserError(f"label {wrong[0]} is outside 0..{(num_classes or 0) - 1}")


def _level_path(folder: Path, index: int) -> Path:
    return folder / f"level{index}.npy"


def _mapped(path: Path, level: StoredLevel, num_items: int) -> np.ndarray:
    try:
        codes = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): extract the codes again") from None
    if codes.shape != level.shape(num_items) or codes.dtype != level.dtype:
        raise UserError(f"{path} has {codes.dtype} {codes.shape}, not what the index says: extract the codes again")
    return codes
