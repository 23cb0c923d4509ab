"""Slices of what is too long to hold: a stream of sound, and the codes of a file, each read once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from codec.files.header import Header
from codec.files.payload import Codes


class SignalWindow:
    """Serves slices of a stream of [channels, n] blocks, in order of their starts; holds one at a time."""

    def __init__(self, blocks: Iterator[Tensor]):
        self._blocks = blocks
        self._held: list[Tensor] = []
        self._start = 0
        self._stop = 0

    def take(self, part: slice) -> Tensor:
        """Signal [channels, part.stop - part.start].

        Raises:
            EOFError: the stream ends before the slice does.
        """
        assert part.start >= self._start, "slices must be asked for in order"
        while self._stop < part.stop:
            block = next(self._blocks, None)
            if block is None:
                raise EOFError(f"the stream ends at sample {self._stop}, before {part.stop}")
            self._held.append(block)
            self._stop += block.shape[1]
        while self._held and self._start + self._held[0].shape[1] <= part.start:
            self._start += self._held.pop(0).shape[1]
        joined = torch.cat(self._held, dim=1)
        return joined[:, part.start - self._start : part.stop - self._start]


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
