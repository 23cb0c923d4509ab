"""A range coder (constriction's): symbols under integer distributions to the fewest whole bytes, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import constriction
import numpy as np
import numpy.typing as npt

from codec.entropy.table import TOTAL, FrequencyTable

_coders: Any = cast(Any, constriction).stream  # a compiled module: type checkers cannot see into it
_each_its_own: Any = _coders.model.Categorical(perfect=False)  # same arithmetic as a table's, a row of it per symbol
Symbols = npt.NDArray[np.integer]
Run = tuple[Symbols, FrequencyTable]  # symbols [n] and their distribution
_WORD = 4  # the coder speaks in words of 32 bits; stored big-endian, as digits of one number
_STATE = 8  # bytes of the coder's state
_TAIL = 12  # zero bytes after the data: more than the coder ever looks ahead in valid data
_MAX_TRIM = 8


class InvalidCodeStreamError(ValueError):
    """The bytes cannot be codes: damaged, or not written for these tables."""


class SymbolEncoder:
    """Takes symbols one run after the other, and makes one byte string of all.

    The bytes are the digits of a binary fraction; those that are not needed to tell the symbols apart are cut off, and
    a decoder reads zeros in their place. Symbols of which there is one kind only (K = 1) cost nothing.
    """

    def __init__(self) -> None:
        self._encoder = _coders.queue.RangeEncoder()

    def put(self, symbols: Symbols, table: FrequencyTable) -> None:
        """Add `symbols` `[n]`, all under `table`.

        Raises:
            ValueError: a symbol lies outside its table.
        """
        _check(symbols, table.size)
        if table.size > 1 and symbols.size:
            self._encoder.encode(np.ascontiguousarray(symbols, dtype=np.int32), table.model)

    def put_each(self, symbols: Symbols, frequencies: npt.NDArray[np.int64]) -> None:
        """Add `symbols` `[n]`, each under its row of `frequencies` `[n, K]`, of sum `TOTAL`; errors as `put`."""
        _check(symbols, frequencies.shape[1])
        if frequencies.shape[1] > 1 and symbols.size:
            self._encoder.encode(np.ascontiguousarray(symbols, dtype=np.int32), _each_its_own, _shares(frequencies))

    def finish(self) -> bytes:
        """The bytes of all symbols: the shortest string that still decodes to them."""
        data = self._encoder.get_compressed().astype(">u4").tobytes()
        num_words, (lower, width) = self._encoder.pos()
        length = num_words * _WORD + _STATE
        value = int.from_bytes(data.ljust(length, b"\0"), "big")
        first = value - (value - lower) % (1 << 8 * _STATE)  # the coder tells only the last digits of its interval
        best = data.rstrip(b"\0")
        for shorter in range(len(best) - 1, max(-1, len(best) - 1 - _MAX_TRIM), -1):
            fitting = (c for c in _rounded(best, shorter) if 0 <= _as_number(c, length) - first < width)
            candidate = next(fitting, None)
            if candidate is None:
                break
            best = candidate
        return best


class SymbolDecoder:
    """Gives back what a `SymbolEncoder` took, run after run.

    Any bytes give either symbols inside their tables or an error, never a crash.
    """

    def __init__(self, data: bytes):
        padded = data + bytes(-len(data) % _WORD + _TAIL)
        self._decoder = _coders.queue.RangeDecoder(np.frombuffer(padded, dtype=">u4").astype(np.uint32))

    def take(self, count: int, table: FrequencyTable) -> npt.NDArray[np.int64]:
        """The next `count` symbols, all under `table`.

        Raises:
            InvalidCodeStreamError: no symbols have these bytes.
        """
        if table.size == 1 or not count:
            return np.zeros(count, dtype=np.int64)
        return _decoded(lambda: self._decoder.decode(table.model, count))

    def take_each(self, frequencies: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The next symbols, one for each row of `frequencies` `[n, K]`; errors as `take`."""
        count, size = frequencies.shape
        if size == 1 or not count:
            return np.zeros(count, dtype=np.int64)
        return _decoded(lambda: self._decoder.decode(_each_its_own, _shares(frequencies)))


def encode_symbols(runs: Sequence[Run]) -> bytes:
    """Code runs of symbols, each under its own table, into one byte string; see `SymbolEncoder`.

    Raises:
        ValueError: a symbol lies outside its table.
    """
    encoder = SymbolEncoder()
    for symbols, table in runs:
        encoder.put(symbols, table)
    return encoder.finish()


def decode_symbols(data: bytes, runs: Sequence[tuple[int, FrequencyTable]]) -> list[npt.NDArray[np.int64]]:
    """Decode what `encode_symbols` wrote: for each (count, table) a row [count] of symbols; see `SymbolDecoder`.

    Raises:
        InvalidCodeStreamError: no symbols have these bytes.
    """
    decoder = SymbolDecoder(data)
    return [decoder.take(count, table) for count, table in runs]


def _check(symbols: Symbols, size: int) -> None:
    if symbols.size and not 0 <= int(symbols.min()) <= int(symbols.max()) < size:
        raise ValueError(f"codes go from {symbols.min()} to {symbols.max()}; wanted 0 to {size - 1}")


def _shares(frequencies: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Probabilities `[n, K]`, row by row in memory: the coder does not look at strides."""
    return np.ascontiguousarray(frequencies) / TOTAL


def _decoded(decode: Callable[[], Any]) -> npt.NDArray[np.int64]:
    try:
        return np.asarray(decode(), dtype=np.int64)
    except (AssertionError, ValueError) as error:
        raise InvalidCodeStreamError("the bytes are not a valid stream of codes") from error


def _rounded(data: bytes, length: int) -> list[bytes]:
    """The first `length` bytes of `data`, and the next higher string."""
    down = data[:length]
    up = (int.from_bytes(down, "big") + 1).to_bytes(length + 1, "big")
    return [down] if up[0] else [down, up[1:]]


def _as_number(digits: bytes, length: int) -> int:
    """The fraction `digits`, in units of the last of `length` bytes."""
    return int.from_bytes(digits[:length].ljust(length, b"\0"), "big")
