"""The canonical grid: which windows a signal is encoded and decoded in, whatever the path it comes by.

Whole signals, streams and files all run exactly these windows, so their codes agree by construction and not by the
luck of how a convolution rounds under another shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from codec.core.overlap import Chunk, Span, tile

SpanMap = Callable[[Span], Span]
Window = tuple[slice, ...]
UNBOUNDED = (1 << 62,)
"""The size of a stream that has not ended."""


def codes_extent(size: tuple[int, ...], factor: int) -> tuple[int, ...]:
    """Codes per axis of a signal of `size`, one per `factor` positions; the last may hang over the end."""
    return tuple(-(-extent // factor) for extent in size)


def refined(window: Window, ratio: int) -> Window:
    """The same window in codes of a level that has `ratio` of them per axis for each."""
    return tuple(slice(part.start * ratio, part.stop * ratio) for part in window)


def encode_grid(
    size: tuple[int, ...], *, factor: int, step: int, needs: SpanMap, align: int = 1, first: int = 0
) -> Iterator[Chunk]:
    """Chunks that turn a signal of `size` into codes.

    Args:
        size: extent of the signal per axis, samples or pixels.
        factor: signal positions per code, per axis.
        step: codes per chunk, per axis.
        needs: signal positions that an interval of codes depends on.
        align: sources start at multiples of so many codes.
        first: the chunk to begin with.

    Yields:
        Chunk: `source` in signal positions inside the signal, starting at a multiple of `factor`; `target` in codes.
    """
    for index, target in enumerate(tile(codes_extent(size, factor), step, first), first):
        source = tuple(
            _from_multiple(needs(span).aligned(factor), factor * align).clipped(extent).as_slice()
            for span, extent in zip(target, size, strict=True)
        )
        yield Chunk(index, source, tuple(span.as_slice() for span in target))


def decode_grid(
    size: tuple[int, ...], *, factor: int, step: int, needs: SpanMap, align: int = 1, first: int = 0
) -> Iterator[Chunk]:
    """Chunks that turn codes into a signal of `size`, cell for cell those of `encode_grid`.

    Yields:
        Chunk: `source` in codes, `target` in signal positions inside the signal.
    """
    codes_size = codes_extent(size, factor)
    for index, cell in enumerate(tile(codes_size, step, first), first):
        wanted = [Span(span.start * factor, span.stop * factor) for span in cell]
        source = tuple(
            _from_multiple(needs(span), align).clipped(extent).as_slice()
            for span, extent in zip(wanted, codes_size, strict=True)
        )
        target = tuple(span.clipped(extent).as_slice() for span, extent in zip(wanted, size, strict=True))
        yield Chunk(index, source, target)


def _from_multiple(span: Span, multiple: int) -> Span:
    return Span(span.start // multiple * multiple, span.stop)
