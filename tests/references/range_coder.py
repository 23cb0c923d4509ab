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


class RangeDecoder:
    """Symbols out of `data`, one by one."""

    def __init__(self, data: bytes):
        self.words = data + bytes(64)
        self.position = 8
        self.point = int.from_bytes(self.words[:8], "big")
        self.lower, self.width = 0, (1 << 64) - 1

    def take(self, frequencies: Sequence[int]) -> int:
        """The next symbol, under `frequencies`."""
        if len(frequencies) == 1:
            return 0
        borders = cumulative(frequencies)
        scale = self.width >> PRECISION
        quantile = ((self.point - self.lower) % (1 << 64)) // scale
        symbol = max(index for index, border in enumerate(borders[:-1]) if border <= quantile)
        self.lower = (self.lower + scale * borders[symbol]) % (1 << 64)
        self.width = scale * (borders[symbol + 1] - borders[symbol])
        if self.width < 1 << 32:
            word = int.from_bytes(self.words[self.position : self.position + 4].ljust(4, b"\0"), "big")
            self.position += 4
            self.lower, self.width = (self.lower << 32) % (1 << 64), self.width << 32
            self.point = ((self.point << 32) | word) % (1 << 64)
        return symbol


def decode(data: bytes, runs: Sequence[tuple[int, Sequence[int]]]) -> list[list[int]]:
    """Symbols of each run (count, frequencies)."""
    decoder = RangeDecoder(data)
    return [[decoder.take(frequencies) for _ in range(count)] for count, frequencies in runs]
