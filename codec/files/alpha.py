"""A plane of transparency, without loss: one byte where it is uniform, else filtered and deflated."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

_CONSTANT, _PLAIN, _ROWS, _COLUMNS = range(4)


def pack_alpha(plane: npt.NDArray[np.uint8]) -> bytes:
    """Bytes for `plane` [height, width]: a method and its data, whichever method is smallest."""
    if (plane == plane[0, 0]).all():
        return bytes([_CONSTANT, plane[0, 0]])
    rows, columns = plane.copy(), plane.copy()
    rows[1:] -= plane[:-1]
    columns[:, 1:] -= plane[:, :-1]
    candidates = ((_PLAIN, plane), (_ROWS, rows), (_COLUMNS, columns))
    return min((bytes([method]) + zlib.compress(data.tobytes(), 9) for method, data in candidates), key=len)


def unpack_alpha(data: bytes, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Undo `pack_alpha`; never allocates more than the plane takes.

    Raises:
        ValueError: no plane of this size has these bytes.
    """
    if len(data) < 2 or data[0] > _COLUMNS:
        raise ValueError("its method makes no sense")
    if data[0] == _CONSTANT:
        if len(data) != 2:
            raise ValueError("its data have the wrong length")
        return np.full((height, width), data[1], dtype=np.uint8)
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(data[1:], height * width)
    except zlib.error as error:
        raise ValueError("its data do not inflate") from error
    if len(plain) != height * width or not _ends(inflater):
        raise ValueError("its data have the wrong length")
    plane = np.frombuffer(plain, dtype=np.uint8).reshape(height, width)
    if data[0] == _PLAIN:
        return plane.copy()
    return np.cumsum(plane, axis=0 if data[0] == _ROWS else 1, dtype=np.uint8)


def _ends(inflater: zlib._Decompress) -> bool:
    """Whether nothing follows what was inflated (its last few bytes may be unread until asked for)."""
    try:
        return not inflater.decompress(inflater.unconsumed_tail, 1) and inflater.eof and not inflater.unused_data
    except zlib.error:
        return False
