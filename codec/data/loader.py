"""Batches as a pure function of the step: the step number is the data position, all that resuming needs.

Batch `step` of rank `r` of `w` holds positions `(step * w + r) * b ... + b` of an endless list: epoch after
epoch, each a permutation of the items drawn from (seed, epoch). Every random choice within an example is
drawn from (seed, position). So the ranks of a step, joined, are the batch of one rank with `w * b` items.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from codec.core import dist
from codec.core.errors import UserError
from codec.data.augment import mixed, within_full_scale
from codec.data.build import build_crops
from codec.data.config import DataConfig
from codec.data.crops import Crop, Media
from codec.data.manifest import Entry, read_manifest
from codec.data.speakers import speaker_numbers
from codec.data.written_units import WrittenUnits

__all__ = [
    "Batch",
    "DataConfig",
    "Telling",
    "TrainingBatches",
    "ValidationBatches",
    "train_entries",
    "validation_entries",
]

_EPOCH_STREAM, _EXAMPLE_STREAM = 0, 1


@dataclass(frozen=True)
class Batch:
    """Crops with the files they came from.

    signal: `[b, c, *space]` float32 in [-1, 1]. names: one path per row.
    mask: `[b, *space]` bool, False over padding; None when nothing is padded.
    told: what else a task is told, by name, if it was asked for: `speakers` `[b]`, the place of each row's speaker in
    the list that was given, and `targets` `[b, n]`, the units that the rows were written down in; both int64.
    """

    signal: Tensor
    names: tuple[str, ...]
    mask: Tensor | None
    told: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Telling:
    """What batches tell beside signals.

    Attributes:
        speakers: names by whose places batches tell who speaks, the unknown one among them; none: they do not.
        units: written units of the recordings, which batches tell as targets; None: they do not.
    """

    speakers: Sequence[str] = ()
    units: WrittenUnits | None = None

    def heard(self, entries: tuple[Entry, ...], *, purpose: str) -> tuple[Entry, ...]:
        """Those of `entries`, which are for `purpose`, that are worth hearing: all, or those that were written down.

        Raises:
            UserError: as `WrittenUnits.covered`.
        """
        return self.units.covered(entries, purpose=purpose) if self.units else entries

    def told(self, entries: Sequence[Entry], crops: Sequence[Crop]) -> dict[str, Tensor]:
        """`Batch.told` of `crops` of `entries`."""
        told: dict[str, Tensor] = {}
        if self.speakers:
            told["speakers"] = speaker_numbers(entries, self.speakers)
        if self.units:
            paths, starts = [entry.path for entry in entries], [crop.start for crop in crops]
            told["targets"] = self.units.targets(paths, starts, size=crops[0].mask.shape[-1])
        return told


SILENT = Telling()


class TrainingBatches:
    """Endless batches of random crops, asked for by step.

    Args:
        media: the model's medium (`kind`, `channels`, for audio `sample_rate` in Hz).
        seed: of every random choice made here.
        telling: what batches tell beside signals.
        rank, world_size: this process among its peers; None asks the process group.

    Attributes:
        num_left_out: entries for training that are not worth hearing (`Telling.heard`).

    Raises:
        UserError: a manifest that cannot be read or has nothing to train on, or nothing that was written down; later,
            an unreadable file.
    """

    def __init__(
        self,
        config: DataConfig,
        media: Media,
        *,
        seed: int,
        telling: Telling = SILENT,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        self.config, self.seed, self.telling = config, seed, telling
        self.rank = dist.rank() if rank is None else rank
        self.world_size = dist.world_size() if world_size is None else world_size
        entries = train_entries(config, media)
        self.entries = telling.heard(entries, purpose="training")
        self.num_left_out = len(entries) - len(self.entries)
        self._crops = build_crops(config, media)
        self._items = _weighted_items(self.entries, [self._crops.extent(entry) for entry in self.entries], config)
        self._epoch_order = lru_cache(maxsize=2)(self._draw_epoch_order)

    @property
    def items_per_epoch(self) -> int:
        """Crops in one pass over the data, all ranks together."""
        return len(self._items)

    @property
    def steps_per_epoch(self) -> float:
        """Steps in one pass; an epoch may end within a batch."""
        return len(self._items) / (self.config.batch_size * self.world_size)

    def batch(self, step: int) -> Batch:
        """The batch of `step` (0, 1, ...), the same whenever and wherever it is asked for."""
        first = (step * self.world_size + self.rank) * self.config.batch_size
        return _collate([self._example(first + row) for row in range(self.config.batch_size)], self.telling)

    def prefetch(self, start_step: int = 0) -> Generator[tuple[int, Batch]]:
        """(step, `batch(step)`) from `start_step` on, decoded ahead by threads; an error arrives at its step.

        Close the iterator (or let it go) to stop the threads.
        """
        if self.config.workers == 0:
            step = start_step
            while True:
                yield step, self.batch(step)
                step += 1
        pool = ThreadPoolExecutor(self.config.workers, thread_name_prefix="decode")
        ahead: deque[tuple[int, Future[Batch]]] = deque()
        step = start_step
        try:
            while True:
                while len(ahead) < self.config.lookahead:
                    ahead.append((step, pool.submit(self.batch, step)))
                    step += 1
                ready_step, future = ahead.popleft()
                yield ready_step, future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _example(self, position: int) -> tuple[Crop, Entry]:
        epoch, place = divmod(position, len(self._items))
        entry = self.entries[self._items[self._epoch_order(epoch)[place]]]
        generator = np.random.default_rng([self.seed, _EXAMPLE_STREAM, position])
        crop = self._crops.cut(entry, self.config.crop, generator)
        if entry.kind == "audio" and generator.random() < self.config.mix_probability:
            other = self.entries[self._items[generator.integers(len(self._items))]]
            added = self._crops.cut(other, self.config.crop, generator).signal
            level_db = float(generator.uniform(*self.config.mix_level_db))
            mixture = within_full_scale(mixed(crop.signal, added * crop.mask, level_db=level_db))
            crop = crop._replace(signal=mixture)
        return crop, entry

    def _draw_epoch_order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, _EPOCH_STREAM, epoch]).permutation(len(self._items))


class ValidationBatches:
    """A fixed, finite list of centre crops, every file once, in manifest order, dealt out to the ranks.

    Ranks may hold one item more or fewer than others (or none): add up sums and counts over ranks, not means.

    Args, attributes and errors: as `TrainingBatches`, for validation; no seed, since nothing is random.
    """

    def __init__(
        self,
        config: DataConfig,
        media: Media,
        *,
        telling: Telling = SILENT,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        self.config, self.telling = config, telling
        rank = dist.rank() if rank is None else rank
        world_size = dist.world_size() if world_size is None else world_size
        asked_for = validation_entries(config, media)
        entries = telling.heard(asked_for, purpose="validation")
        self.num_left_out = len(asked_for) - len(entries)
        kept = len(entries) if config.validation_items is None else min(len(entries), config.validation_items)
        spread = [entries[index * len(entries) // kept] for index in range(kept)]
        self.entries = tuple(spread[rank::world_size])
        self._crops = build_crops(config, media)

    def __len__(self) -> int:
        return -(-len(self.entries) // self.config.batch_size)

    def batch(self, index: int) -> Batch:
        """Batch `index` of `len(self)`; the last one may be smaller."""
        first = index * self.config.batch_size
        rows = self.entries[first : first + self.config.batch_size]
        size = self.config.validation_crop or self.config.crop
        return _collate([(self._crops.cut(entry, size, None), entry) for entry in rows], self.telling)

    def __iter__(self) -> Iterator[Batch]:
        return (self.batch(index) for index in range(len(self)))


def train_entries(config: DataConfig, media: Media) -> tuple[Entry, ...]:
    """Entries to train on: train splits of the train manifests, less what `validation_fraction` holds out.

    Raises:
        UserError: no manifest given, or nothing of this medium in them.
    """
    if not config.train:
        raise UserError("no training data: give data.train=MANIFEST (make one with `codec prep folder SOURCE OUT`)")
    entries = _gather(config.train, config.train_splits, config, media)
    kept = tuple(entry for entry in entries if not _is_held_out(entry, config.validation_fraction))
    if not kept:
        raise UserError(f"data.validation_fraction={config.validation_fraction} holds out every training file")
    return kept


def validation_entries(config: DataConfig, media: Media) -> tuple[Entry, ...]:
    """Entries to validate on; empty when the config names none.

    Raises:
        UserError: a validation manifest without any of the validation splits.
    """
    held_out: tuple[Entry, ...] = ()
    if config.validation_fraction > 0.0:
        candidates = _gather(config.train, config.train_splits, config, media)
        held_out = tuple(entry for entry in candidates if _is_held_out(entry, config.validation_fraction))
    if config.validation:
        return held_out + _gather(config.validation, config.validation_splits, config, media)
    if held_out:
        return held_out
    own = (read_manifest(path) for path in config.train)
    return tuple(
        entry
        for manifest in own
        for entry in _of_medium(manifest.entries, config, media)
        if entry.split in config.validation_splits
    )


def _gather(paths: Sequence[object], splits: Sequence[str], config: DataConfig, media: Media) -> tuple[Entry, ...]:
    manifests = [read_manifest(str(path), split=splits) for path in paths]
    entries = tuple(entry for manifest in manifests for entry in _of_medium(manifest.entries, config, media))
    if not entries:
        wanted = f"{media.kind} entries" + (f" of set {' or '.join(config.sets)}" if config.sets else "")
        raise UserError(f"no {wanted} in split {' or '.join(splits)} of {', '.join(map(str, paths))}")
    return entries


def _of_medium(entries: Sequence[Entry], config: DataConfig, media: Media) -> list[Entry]:
    return [entry for entry in entries if entry.kind == media.kind and (not config.sets or entry.set in config.sets)]


def _is_held_out(entry: Entry, fraction: float) -> bool:
    """Whether the hash of the file's name (no folder: a moved corpus keeps its split) is below `fraction`."""
    digest = hashlib.sha256(entry.path.name.encode()).digest()
    return int.from_bytes(digest[:8], "big") < fraction * 2**64


def _weighted_items(entries: Sequence[Entry], extents: Sequence[float], config: DataConfig) -> np.ndarray:
    if config.weighting == "file":
        return np.arange(len(entries))
    repeats = np.maximum(1, np.rint(np.asarray(extents))).astype(np.int64)
    return np.repeat(np.arange(len(entries)), repeats)


def _collate(examples: Sequence[tuple[Crop, Entry]], telling: Telling) -> Batch:
    crops, entries = zip(*examples, strict=True)
    mask = torch.stack([crop.mask for crop in crops])
    return Batch(
        torch.stack([crop.signal for crop in crops]),
        tuple(str(entry.path) for entry in entries),
        None if bool(mask.all()) else mask,
        telling.told(entries, crops),
    )
