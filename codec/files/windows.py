"""Slices of what is too long to hold: a stream of sound, and the codes of a file, each read once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from codec.files.header import Header
from codec.files.payload import Codes


@dataclass(frozen=True)
class Tape:
    """The stretch `[start, stop)` of a stream that is held, in blocks [..., n]; a value, never changed.

    Blocks are joined as they come so that the later of two is the shorter: however short the blocks, a stretch of n is
    held in log n of them and no value is copied more often than that.
    """

    blocks: tuple[Tensor, ...] = ()
    start: int = 0
    stop: int = 0

    def plus(self, block: Tensor) -> Tape:
        """The tape with `block` [..., n] after it."""
        if not block.shape[-1]:
            return self
        stop, blocks = self.stop + block.shape[-1], self.blocks
        while blocks and blocks[-1].shape[-1] <= block.shape[-1]:
            block, blocks = torch.cat((blocks[-1], block), -1), blocks[:-1]
        return Tape((*blocks, block), self.start, stop)

    def since(self, start: int) -> Tape:
        """The tape without what lies before `start`, which takes no memory any more."""
        blocks, at = self.blocks, self.start
        while blocks and at + blocks[0].shape[-1] <= start:
            at, blocks = at + blocks[0].shape[-1], blocks[1:]
        if blocks and at < start:
            blocks, at = (blocks[0][..., start - at :].clone(), *blocks[1:]), start
        return Tape(blocks, at, self.stop)

    def read(self, part: slice) -> Tensor:
        """[..., part.stop - part.start] of what is held."""
        assert self.start <= part.start <= part.stop <= self.stop, "that stretch is not held"
        return torch.cat(self.blocks, -1)[..., part.start - self.start : part.stop - self.start]


class SignalWindow:
    """Serves slices of a stream of [..., n] blocks, in order of their starts; holds one at a time.

    Args:
        start: position of the first block's first value.
    """

    def __init__(self, blocks: Iterator[Tensor], start: int = 0):
        self._blocks = blocks
        self._tape = Tape(start=start, stop=start)

    def take(self, part: slice) -> Tensor:
        """Signal [..., part.stop - part.start].

        Raises:
            EOFError: the stream ends before the slice does.
        """
        assert part.start >= self._tape.start, "slices must be asked for in order"
        while self._tape.stop < part.stop:
            block = next(self._blocks, None)
            if block is None:
                raise EOFError(f"the stream ends at sample {self._tape.stop}, before {part.stop}")
            self._tape = self._tape.plus(block)
        self._tape = self._tape.since(part.start)
        return self._tape.read(part)


class CodeWindow:
    """Serves windows of codes out of chunks, each loaded once; windows must not go back along the first axis.

    Args:
        load: the codes of a chunk, per level [rows, q, *space].
    """

    def __init__(self, header: Header, load: Callable[[int], Codes]):
        self._header = header
        self._load = load
        self._held: dict[int, Codes] = {}

    def take(self, source: tuple[slice, ...]) -> tuple[tuple[Tensor, ...], list[int]]:
        """Codes per level [rows, q, *space] of `source`, in codes of the coarsest level; and their chunks."""
        header = self._header
        touched = list(self._touched(source))
        self._held = {
            index: codes for index, codes in self._held.items() if header.cell(index)[0].stop > source[0].start
        }
        for index in touched:
            if index not in self._held:
                self._held[index] = self._load(index)
        return tuple(self._joined(level, source, touched) for level in range(len(header.levels))), touched

    def _joined(self, level: int, source: tuple[slice, ...], touched: list[int]) -> Tensor:
        info = self._header.levels[level]
        ratio = self._header.factor // info.downsample_factor
        extent = [(part.stop - part.start) * ratio for part in source]
        window = np.empty((self._header.rows, info.num_active, *extent), dtype=np.int64)
        for index in touched:
            cell = self._header.cell(index)
            into, out_of = [], []
            for part, place in zip(source, cell, strict=True):
                start, stop = max(part.start, place.start), min(part.stop, place.stop)
                into.append(slice((start - part.start) * ratio, (stop - part.start) * ratio))
                out_of.append(slice((start - place.start) * ratio, (stop - place.start) * ratio))
            window[(..., *into)] = self._held[index][level][(..., *out_of)]
        return torch.from_numpy(window)

    def _touched(self, source: tuple[slice, ...]) -> Iterator[int]:
        ranges = [
            range(part.start // step, -(-part.stop // step))
            for part, step in zip(source, self._header.step, strict=True)
        ]
        for place in itertools.product(*ranges):
            index = 0
            for position, count in zip(place, self._header.grid, strict=True):
                index = index * count + position
            yield index
