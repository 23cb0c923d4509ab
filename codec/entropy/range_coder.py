"""A range coder (constriction's) from runs of symbols to the fewest whole bytes, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import constriction
import numpy as np
import numpy.typing as npt

from codec.entropy.table import FrequencyTable

_coders: Any = cast(Any, constriction).stream  # a compiled module: type checkers cannot see into it
Run = tuple[npt.NDArray[np.integer], FrequencyTable]  # symbols [n] and their distribution
_WORD = 4  # the coder speaks in words of 32 bits; stored big-endian, as digits of one number
_TAIL = 12  # zero bytes after the data: more than the coder ever looks ahead in valid data
_MAX_TRIM = 8


class InvalidCodeStreamError(ValueError):
    """The bytes cannot be codes: damaged, or not written for these tables."""


def encode_symbols(runs: Sequence[Run]) -> bytes:
    """Code runs of symbols, each under its own table, into one byte string.

    The bytes are the digits of a binary fraction; those that are not needed to tell the symbols apart are
    cut off, and a decoder reads zeros in their place. Runs over one symbol (K = 1) cost nothing.

    Raises:
        ValueError: a symbol lies outside its table.
    """
    encoder = _coders.queue.RangeEncoder()
    expected: list[tuple[int, FrequencyTable]] = []
    for symbols, table in runs:
        if symbols.size and not 0 <= int(symbols.min()) <= int(symbols.max()) < table.size:
            raise ValueError(f"codes go from {symbols.min()} to {symbols.max()}; wanted 0 to {table.size - 1}")
        expected.append((int(symbols.size), table))
        if table.size > 1 and symbols.size:
            encoder.encode(np.ascontiguousarray(symbols, dtype=np.int32), table.model)
    words = encoder.get_compressed()
    return _shortest(words.astype(">u4").tobytes(), runs, expected)


def decode_symbols(data: bytes, runs: Sequence[tuple[int, FrequencyTable]]) -> list[npt.NDArray[np.int64]]:
    """Decode what `encode_symbols` wrote: for each (count, table) a row [count] of symbols.

    Any bytes give either symbols inside their tables or an error, never a crash.

    Raises:
        InvalidCodeStreamError: no symbols have these bytes.
    """
    padded = data + bytes(-len(data) % _WORD + _TAIL)
    decoder = _coders.queue.RangeDecoder(np.frombuffer(padded, dtype=">u4").astype(np.uint32))
    rows: list[npt.NDArray[np.int64]] = []
    for count, table in runs:
        if table.size > 1 and count:
            try:
                rows.append(np.asarray(decoder.decode(table.model, count), dtype=np.int64))
            except (AssertionError, ValueError) as error:
                raise InvalidCodeStreamError("the bytes are not a valid stream of codes") from error
        else:
            rows.append(np.zeros(count, dtype=np.int64))
    return rows


def _shortest(data: bytes, runs: Sequence[Run], expected: Sequence[tuple[int, FrequencyTable]]) -> bytes:
    """The shortest prefix, rounded down or up in its last byte, that still decodes to the same symbols."""
    best = data.rstrip(b"\0")
    for length in range(len(best) - 1, max(-1, len(best) - 1 - _MAX_TRIM), -1):
        candidate = next((c for c in _rounded(best, length) if _decodes(c, runs, expected)), None)
        if candidate is None:
            break
        best = candidate
    return best


def _rounded(data: bytes, length: int) -> list[bytes]:
    down = data[:length]
    up = (int.from_bytes(down, "big") + 1).to_bytes(length + 1, "big")
    return [down] if up[0] else [down, up[1:]]


def _decodes(data: bytes, runs: Sequence[Run], expected: Sequence[tuple[int, FrequencyTable]]) -> bool:
    try:
        rows = decode_symbols(data, expected)
    except InvalidCodeStreamError:
        return False
    return all(np.array_equal(row, symbols) for row, (symbols, _) in zip(rows, runs, strict=True))
