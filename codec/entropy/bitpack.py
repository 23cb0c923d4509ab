"""Plain bit packing: every symbol in ceil(log2 K) bits, most significant bit first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def bits_per_symbol(size: int) -> int:
    """Bits needed for one of `size` symbols: 0 for one symbol, 9 for 512."""
    return (size - 1).bit_length()


def packed_size(runs: Sequence[tuple[int, int]]) -> int:
    """Bytes that runs of (count, size) take when packed."""
    return -(-sum(count * bits_per_symbol(size) for count, size in runs) // 8)


def pack_bits(runs: Sequence[tuple[npt.NDArray[np.integer], int]]) -> bytes:
    """Pack runs of (symbols [n], size K) one after the other; the last byte is filled with zero bits.

    Raises:
        ValueError: a symbol lies outside 0 .. K - 1.
    """
    bits = []
    for symbols, size in runs:
        if symbols.size and not 0 <= int(symbols.min()) <= int(symbols.max()) < size:
            raise ValueError(f"codes go from {symbols.min()} to {symbols.max()}; wanted 0 to {size - 1}")
        places = np.arange(bits_per_symbol(size))[::-1]
        bits.append(((symbols.astype(np.int64)[:, None] >> places) & 1).astype(np.uint8).ravel())
    return np.packbits(np.concatenate(bits)).tobytes() if bits else b""


def unpack_bits(data: bytes, runs: Sequence[tuple[int, int]]) -> list[npt.NDArray[np.int64]]:
    """Undo `pack_bits` for runs of (count, size).

    Raises:
        ValueError: the bytes are too few or too many, or hold a symbol outside its run's size.
    """
    if len(data) != packed_size(runs):
        raise ValueError(f"{len(data)} bytes of packed codes; wanted {packed_size(runs)}")
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8))
    rows, start = [], 0
    for count, size in runs:
        width = bits_per_symbol(size)
        digits = bits[start : start + count * width].reshape(count, width).astype(np.int64)
        symbols = digits @ (1 << np.arange(width, dtype=np.int64)[::-1])
        if count and int(symbols.max()) >= size:
            raise ValueError(f"packed code {symbols.max()}; wanted 0 to {size - 1}")
        rows.append(symbols)
        start += count * width
    return rows
