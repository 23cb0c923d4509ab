"""Chunk arithmetic: which input each stretch of output depends on, and the canonical grid of chunks.

A network of convolutions is a map from output positions to the input positions they depend on. Written as
half-open intervals `[start, stop)`, that map composes from the last layer to the first, and tells how much
context a chunk needs so that its result is that of the whole signal.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple


class Span(NamedTuple):
    """A half-open interval of positions along one axis."""

    start: int
    stop: int

    def clipped(self, size: int) -> Span:
        """The part inside `[0, size)`."""
        return Span(max(self.start, 0), min(self.stop, size))

    def aligned(self, multiple: int) -> Span:
        """Widened so that both ends are multiples of `multiple`."""
        return Span(self.start // multiple * multiple, -(-self.stop // multiple) * multiple)

    def joined(self, other: Span) -> Span:
        """The smallest interval that holds both."""
        return Span(min(self.start, other.start), max(self.stop, other.stop))

    def as_slice(self) -> slice:
        """The same interval as a slice."""
        return slice(self.start, self.stop)


@dataclass(frozen=True)
class Chunk:
    """One cell of the canonical grid.

    Attributes:
        index: position in raster order.
        source: what to read, per axis, in input units (samples or pixels to encode, codes to decode).
        target: what to write, per axis, in output units; the targets of a grid tile the output exactly.
    """

    index: int
    source: tuple[slice, ...]
    target: tuple[slice, ...]


def convolution_span(span: Span, *, kernel: int, stride: int, dilation: int, pad_left: int) -> Span:
    """Inputs of a padded convolution that outputs `span` depend on."""
    return Span(span.start * stride - pad_left, (span.stop - 1) * stride - pad_left + (kernel - 1) * dilation + 1)


def transposed_span(span: Span, *, kernel: int, stride: int, trim_left: int) -> Span:
    """Inputs of a transposed convolution, its output trimmed by `trim_left`, that outputs `span` depend on."""
    first, last = span.start + trim_left, span.stop - 1 + trim_left
    return Span(-(-(first - kernel + 1) // stride), last // stride + 1)


def tile(size: tuple[int, ...], step: int, first: int = 0) -> Iterator[tuple[Span, ...]]:
    """Cells of `step` per axis that tile `size` in raster order, from cell `first` on; the last of an axis may be
    shorter."""
    counts = [-(-extent // step) for extent in size]
    for index in range(first, math.prod(counts)):
        cell = []
        for extent, count in zip(reversed(size), reversed(counts), strict=True):
            index, place = divmod(index, count)
            cell.append(Span(place * step, min((place + 1) * step, extent)))
        yield tuple(reversed(cell))
