"""The range decoder of docs/file-format.md in plain Python integers: slow, independent of any library."""

from __future__ import annotations

from collections.abc import Sequence

PRECISION = 24
TOTAL_BITS = 22


def cumulative(frequencies: Sequence[int]) -> list[int]:
    """The coder's own distribution, K + 1 borders from 0 to 2**24, of frequencies that add up to 2**22."""
    size, total, borders = len(frequencies), 0, []
    for index, frequency in enumerate(frequencies):
        borders.append(((total * ((1 << PRECISION) - size)) >> TOTAL_BITS) + index)
        total += frequency
    return [*borders, 1 << PRECISION]


def decode(data: bytes, runs: Sequence[tuple[int, Sequence[int]]]) -> list[list[int]]:
    """Symbols of each run (count, frequencies)."""
    words = data + bytes(64)
    position = 8
    point = int.from_bytes(words[:8], "big")
    lower, width = 0, (1 << 64) - 1
    rows = []
    for count, frequencies in runs:
        row = []
        borders = cumulative(frequencies)
        for _ in range(count if len(frequencies) > 1 else 0):
            scale = width >> PRECISION
            quantile = ((point - lower) % (1 << 64)) // scale
            symbol = max(index for index, border in enumerate(borders[:-1]) if border <= quantile)
            lower = (lower + scale * borders[symbol]) % (1 << 64)
            width = scale * (borders[symbol + 1] - borders[symbol])
            if width < 1 << 32:
                word = int.from_bytes(words[position : position + 4].ljust(4, b"\0"), "big")
                position += 4
                lower, width = (lower << 32) % (1 << 64), width << 32
                point = ((point << 32) | word) % (1 << 64)
            row.append(symbol)
        rows.append(row if len(frequencies) > 1 else [0] * count)
    return rows
