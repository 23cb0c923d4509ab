"""What kind of bytes a chunk is."""

from __future__ import annotations

from enum import IntEnum


class Method(IntEnum):
    """What kind of bytes a chunk is: how it stands in the file's table."""

    COUNTED = 0
    PACKED = 1
    PREDICTED = 2
