"""Unsigned integers in few bytes (LEB128), and a reader of fields that never runs past the end."""

from __future__ import annotations

_MAX_BYTES = 9  # 63 bits


def varint(value: int) -> bytes:
    """`value` (0 to 2**63 - 1), seven bits a byte, lowest first; a set high bit says that a byte follows."""
    assert 0 <= value < 1 << 7 * _MAX_BYTES, value
    digits = []
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


class ByteReader:
    """Reads fields one after the other from `data`.

    Every method raises ValueError where the bytes end too early or say what no writer says.
    """

    def __init__(self, data: bytes):
        self._data = data
        self.position = 0

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self.position

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count > self.remaining:
            raise ValueError(f"{count} bytes wanted, {self.remaining} left")
        self.position += count
        return self._data[self.position - count : self.position]

    def varint(self) -> int:
        """The next varint, in its shortest form."""
        value = 0
        for index in range(_MAX_BYTES):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                if index and not byte:
                    raise ValueError("a number is longer than it need be")
                return value
        raise ValueError("a number has too many bytes")
