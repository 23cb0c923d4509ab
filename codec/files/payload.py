"""Codes of one chunk to bytes and back: entropy-coded, or packed where that is smaller."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from codec.entropy import (
    FrequencyTable,
    decode_symbols,
    encode_symbols,
    pack_bits,
    packed_size,
    unpack_bits,
)

Codes = tuple[npt.NDArray[np.integer], ...]  # per level [rows, q, *space]


class ChunkCoder:
    """Codes chunks of one model.

    The symbols of a chunk run row by row, in a row level by level (coarse to fine), in a level codebook by
    codebook, in a codebook in raster order.

    Args:
        histograms: per level integer counts [q, K] of each codebook's codes.
    """

    def __init__(self, histograms: Sequence[npt.NDArray[np.integer]]):
        self._tables = [[FrequencyTable.from_counts(counts) for counts in level] for level in histograms]

    def encode(self, codes: Codes) -> tuple[bytes, bool]:
        """Bytes for the codes of a chunk, and whether they are packed bits."""
        runs = [
            (codes[level][row, book].ravel(), table)
            for row in range(codes[0].shape[0])
            for level, book, table in self._books([level.shape for level in codes])
        ]
        coded = encode_symbols(runs)
        if packed_size([(symbols.size, table.size) for symbols, table in runs]) < len(coded):
            return pack_bits([(symbols, table.size) for symbols, table in runs]), True
        return coded, False

    def decode(self, data: bytes, packed: bool, shapes: Sequence[tuple[int, ...]]) -> Codes:
        """Codes of a chunk, per level of shape [rows, q, *space].

        Raises:
            ValueError: no codes have these bytes.
        """
        rows = shapes[0][0]
        runs = [(math.prod(shapes[level][2:]), table) for level, _, table in self._books(shapes)] * rows
        if packed:
            symbols = unpack_bits(data, [(count, table.size) for count, table in runs])
        else:
            symbols = decode_symbols(data, runs)
        stream = iter(symbols)
        levels = [np.empty(shape, dtype=np.int64) for shape in shapes]
        for row in range(rows):
            for level, book, _ in self._books(shapes):
                levels[level][row, book] = next(stream).reshape(shapes[level][2:])
        return tuple(levels)

    def likeliest(self, shapes: Sequence[tuple[int, ...]]) -> Codes:
        """The commonest code of each codebook everywhere: what stands in for codes that are lost."""
        levels = [np.empty(shape, dtype=np.int64) for shape in shapes]
        for level, book, table in self._books(shapes):
            levels[level][:, book] = int(np.argmax(table.frequencies))
        return tuple(levels)

    def _books(self, shapes: Sequence[tuple[int, ...]]) -> list[tuple[int, int, FrequencyTable]]:
        return [
            (level, book, self._tables[level][book]) for level, shape in enumerate(shapes) for book in range(shape[1])
        ]
