"""What is lost with a part of a file that cannot be decoded."""

from __future__ import annotations

from codec.files.header import AudioHeader, Header
from codec.files.report import Damage


def damage_at(header: Header, index: int, error: Exception) -> Damage:
    """What is lost with chunk `index`, or with the plane of transparency that follows the last, because of `error`."""
    has_codes = index < header.num_chunks
    part = header.target(index) if has_codes else tuple(slice(0, extent) for extent in header.size)
    start, stop = edges(header, part)
    return Damage(index + 1 if has_codes else 0, str(error), header.where(index), start, stop, start, stop)


def edges(header: Header, part: tuple[slice, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Start and stop of `part` of the signal per axis, in seconds or pixels."""
    starts, stops = tuple(edge.start for edge in part), tuple(edge.stop for edge in part)
    if not isinstance(header.media, AudioHeader):
        return starts, stops
    rate = header.media.model_rate
    return tuple(start / rate for start in starts), tuple(stop / rate for stop in stops)
