"""Batches of stored codes for training a prior, as a pure function of the step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np
import torch
from torch import Tensor

from codec.core import dist
from codec.core.errors import UserError
from codec.data.code_store import CodeStore


@dataclass(frozen=True)
class Packing:
    """How a row holds everything a prior wants to know of an item: its label, then its codes level by level.

    Attributes:
        shapes: `(q, *space)` of the levels, coarse to fine; the last is the one that is modelled.
        labelled: whether a row begins with a label.
    """

    shapes: tuple[tuple[int, ...], ...]
    labelled: bool

    @classmethod
    def of(cls, store: CodeStore, level: int) -> Packing:
        """For level `level` of `store`, and all above it."""
        shapes = tuple((grid.num_codebooks, *grid.size) for grid in store.index.levels[: level + 1])
        return cls(shapes, store.index.num_classes is not None)

    def pack(self, codes: tuple[np.ndarray, ...], labels: np.ndarray | None) -> Tensor:
        """Rows `[b, n]`, int64, of codes `[b, q, *space]` and labels `[b]`."""
        parts = [] if labels is None else [labels[:, None]]
        parts += [level.reshape(len(level), -1) for level in codes]
        return torch.from_numpy(np.concatenate(parts, axis=1, dtype=np.int64))

    def unpack(self, rows: Tensor) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """The codes and labels in `rows`."""
        sizes = [1] * self.labelled + [prod(shape) for shape in self.shapes]
        parts = list(rows.split(sizes, dim=1))
        labels = parts.pop(0)[:, 0] if self.labelled else None
        return tuple(part.unflatten(1, shape) for part, shape in zip(parts, self.shapes, strict=True)), labels


@dataclass(frozen=True)
class CodeBatch:
    """Packed rows `[b, n]` of int64, and the names of their items."""

    signal: Tensor
    names: tuple[str, ...]
    mask: Tensor | None = None


class _Rows:
    """Rows of the items of one split."""

    def __init__(self, store: CodeStore, level: int, split: str):
        if not 0 <= level < len(store.codes):
            raise UserError(f"level is {level}; {store.folder} has {len(store.codes)}, counted from 0")
        self.packing = Packing.of(store, level)
        self.items = store.items_of(split)
        self._store, self._levels = store, range(level + 1)
        self._labels = None if store.index.labels is None else np.asarray(store.index.labels)
        self._names = store.index.names

    def batch(self, places: np.ndarray) -> CodeBatch:
        """The items at `places` of the split."""
        items = self.items[places]
        labels = None if self._labels is None else self._labels[items]
        signal = self.packing.pack(tuple(self._store.read(level, items) for level in self._levels), labels)
        return CodeBatch(signal, tuple(self._names[item] for item in items))


class TrainingCodes:
    """Endless batches, epoch after epoch in an order drawn from (seed, epoch).

    Batch `step` of rank `r` of `w` holds positions `(step * w + r) * b ... + b` of the endless list.

    Args:
        level: the one that is modelled; rows hold it and all above it.
        rank, world_size: this process among its peers; None asks the process group.

    Raises:
        UserError: there is no such level, or the split is empty.
    """

    def __init__(
        self,
        store: CodeStore,
        level: int,
        *,
        batch_size: int,
        seed: int,
        split: str = "train",
        rank: int | None = None,
        world_size: int | None = None,
    ):
        self._rows = _Rows(store, level, split)
        if not len(self._rows.items):
            raise UserError(f"{store.folder} has no items of split {split!r} to train on")
        self.packing, self.batch_size, self.seed = self._rows.packing, batch_size, seed
        self.rank = dist.rank() if rank is None else rank
        self.world_size = dist.world_size() if world_size is None else world_size
        self._order = lru_cache(maxsize=2)(self._draw_order)

    def batch(self, step: int) -> CodeBatch:
        """The batch of `step` (0, 1, ...), the same whenever and wherever it is asked for."""
        first = (step * self.world_size + self.rank) * self.batch_size
        epochs, places = np.divmod(np.arange(first, first + self.batch_size), len(self._rows.items))
        return self._rows.batch(np.array([self._order(int(e))[p] for e, p in zip(epochs, places, strict=True)]))

    def prefetch(self, start_step: int = 0) -> Iterator[tuple[int, CodeBatch]]:
        """(step, `batch(step)`) from `start_step` on."""
        step = start_step
        while True:
            yield step, self.batch(step)
            step += 1

    def _draw_order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(len(self._rows.items))


class ValidationCodes:
    """Every item of a split once, in order, dealt out to the ranks; may be empty.

    Args and errors: as `TrainingCodes`.
    """

    def __init__(
        self,
        store: CodeStore,
        level: int,
        *,
        batch_size: int,
        split: str = "validation",
        rank: int | None = None,
        world_size: int | None = None,
    ):
        self._rows = _Rows(store, level, split)
        self.packing, self.batch_size = self._rows.packing, batch_size
        rank = dist.rank() if rank is None else rank
        world_size = dist.world_size() if world_size is None else world_size
        self._places = np.arange(len(self._rows.items))[rank::world_size]

    def __len__(self) -> int:
        return -(-len(self._places) // self.batch_size)

    def __iter__(self) -> Iterator[CodeBatch]:
        for first in range(0, len(self._places), self.batch_size):
            yield self._rows.batch(self._places[first : first + self.batch_size])
