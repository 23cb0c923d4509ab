"""Codes of one chunk to bytes and back: by the model's histograms, packed, or by a prior, whichever is shortest."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from codec.core.grid import Grid
from codec.entropy import (
    FrequencyTable,
    decode_symbols,
    encode_symbols,
    pack_bits,
    packed_size,
    unpack_bits,
)
from codec.files.errors import WrongPriorError
from codec.files.method import Method
from codec.models.base import CodecModel
from codec.priors.coding import Codes, CodingPrior


class ChunkCoder:
    """Codes chunks of one model.

    Without a prior the symbols of a chunk run row by row, in a row level by level (coarse to fine), in a level codebook
    by codebook, in a codebook in raster order.

    Args:
        histograms: per level integer counts [q, K] of each codebook's codes.
        prior: predicts codes from those before them.
    """

    def __init__(self, histograms: Sequence[npt.NDArray[np.integer]], prior: CodingPrior | None = None):
        self._tables = [[FrequencyTable.from_counts(counts) for counts in level] for level in histograms]
        self._prior = prior

    @classmethod
    def of(cls, model: CodecModel, num_active: int, prior: CodingPrior | None) -> ChunkCoder:
        """A coder of `model`'s codes at one of its rates.

        Raises:
            WrongPriorError: the prior is of other levels, and would leave codes out.
        """
        if prior is not None and prior.grids != tuple(map(Grid.of, model.levels)):
            raise WrongPriorError(
                f"prior {prior.name!r} names model {model.name!r} ({model.fingerprint}), but is of other levels of "
                "codes: make it anew from priors of all of the model's levels"
            )
        return cls([histogram.cpu().numpy() for histogram in model.code_histograms(num_active)], prior)

    def encode(self, codes: Codes) -> tuple[bytes, Method]:
        """The fewest bytes for the codes of a chunk, and what kind they are."""
        runs = [
            (codes[level][row, book].ravel(), table)
            for row in range(codes[0].shape[0])
            for level, book, table in self._books([level.shape for level in codes])
        ]
        coded, method = encode_symbols(runs), Method.COUNTED
        if packed_size([(symbols.size, table.size) for symbols, table in runs]) < len(coded):
            coded, method = pack_bits([(symbols, table.size) for symbols, table in runs]), Method.PACKED
        if self._prior is not None and len(predicted := self._prior.encode(codes)) < len(coded):
            coded, method = predicted, Method.PREDICTED
        return coded, method

    def decode(self, data: bytes, method: Method, shapes: Sequence[tuple[int, ...]]) -> Codes:
        """Codes of a chunk, per level of shape [rows, q, *space].

        Raises:
            ValueError: no codes have these bytes.
        """
        if method is Method.PREDICTED:
            assert self._prior is not None, "a header with such a chunk names a prior"
            return self._prior.decode(data, shapes)
        rows = shapes[0][0]
        runs = [(math.prod(shapes[level][2:]), table) for level, _, table in self._books(shapes)] * rows
        if method is Method.PACKED:
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
