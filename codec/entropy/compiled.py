"""The range coder of `range_coder`, to be called from compiled loops: one symbol at a time, each of any distribution.

A coder is a row of three numbers and a row of words of 32 bits. A symbol is given by where its share of `total` starts,
and how wide it is, which are integers; `total` is below 2**32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from codec.entropy.range_coder import InvalidCodeStreamError

Words = npt.NDArray[np.uint64]
_WIDTH, _PLACE, _LOWER = 0, 1, 2  # of an encoder `_LOWER`, of a decoder how far the point is above it
_AHEAD = _LOWER
_FULL = np.uint64((1 << 64) - 1)
_WORD, _LOW = np.uint64(32), np.uint64((1 << 32) - 1)
_ONE = np.uint64(1)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as machine code, kept on disk for the next process where there is a folder that it may write to."""
    try:
        return njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # numba found no such folder
        return njit(nogil=True, error_model="numpy")(function)


def new_encoder(max_symbols: int) -> tuple[Words, Words]:
    """The numbers and the words of an encoder of so many symbols."""
    return np.array([_FULL, 0, 0], dtype=np.uint64), np.zeros(max_symbols + 2, dtype=np.uint64)


def new_decoder(data: bytes) -> tuple[Words, Words]:
    """The numbers and the words of a decoder of `data`; after its end come zeros."""
    words = np.frombuffer(data + bytes(-len(data) % 4 + 8), dtype=">u4").astype(np.uint64)
    return np.array([_FULL, 2, words[0] << _WORD | words[1]], dtype=np.uint64), words


@compiled
def put(coder: Words, words: Words, start: int, width: int, total: int) -> None:
    """Add the symbol that has the share `start` to `start + width` of `total`."""
    scale = coder[_WIDTH] // np.uint64(total)
    lower = coder[_LOWER] + scale * np.uint64(start)
    if lower < coder[_LOWER]:  # it passed 2**64
        place = np.int64(coder[_PLACE]) - 1
        while words[place] == _LOW:
            words[place] = np.uint64(0)
            place -= 1
        words[place] += _ONE
    coder[_WIDTH] = scale * np.uint64(width)
    if coder[_WIDTH] <= _LOW:
        words[np.int64(coder[_PLACE])] = lower >> _WORD
        coder[_PLACE] += _ONE
        coder[_WIDTH] <<= _WORD
        lower <<= _WORD
    coder[_LOWER] = lower


@compiled
def look(coder: Words, total: int) -> np.int64:
    """The number below `total` whose symbol comes next; `total` or more if no symbols have these bytes."""
    return np.int64(min(coder[_AHEAD] // (coder[_WIDTH] // np.uint64(total)), np.uint64(total)))


@compiled
def skip(coder: Words, words: Words, start: int, width: int, total: int) -> None:
    """Go on behind the symbol that `look` fell into."""
    scale = coder[_WIDTH] // np.uint64(total)
    coder[_AHEAD] -= scale * np.uint64(start)
    coder[_WIDTH] = scale * np.uint64(width)
    if coder[_WIDTH] <= _LOW:
        place = np.int64(coder[_PLACE])
        word = words[place] if place < len(words) else np.uint64(0)
        coder[_AHEAD] = coder[_AHEAD] << _WORD | word
        coder[_WIDTH] <<= _WORD
        coder[_PLACE] += _ONE


def finish(coder: Words, words: Words) -> bytes:
    """The shortest bytes that an encoder's symbols are decoded from."""
    count, lower, width = int(coder[_PLACE]), int(coder[_LOWER]), int(coder[_WIDTH])
    whole = int.from_bytes(words[:count].astype(">u4").tobytes(), "big")
    for free in reversed(range(0, 65, 8)):
        last = -(-lower >> free) << free  # the least multiple of 2**free that is not below
        if last < lower + width:
            return ((whole << 64) + last).to_bytes(4 * count + 8, "big").rstrip(b"\0")
    raise AssertionError("an interval holds its start")


def check(valid: bool) -> None:
    """Raises InvalidCodeStreamError unless `valid`."""
    if not valid:
        raise InvalidCodeStreamError("the bytes are not a valid stream of codes")
