"""What a .vqc file says about itself: model, media, levels of codes, and the grid of chunks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MAX_CHANNELS = 256
MAX_SAMPLE_RATE = 1_000_000  # Hz
MAX_PIXELS = 178_956_970  # what Pillow opens at most without being told otherwise
MAX_LEVELS = 16
MAX_FACTOR = 1 << 20
MAX_CODEBOOKS = 1024
MAX_CODEBOOK_SIZE = 1 << 20
MAX_CHUNK_CODES = 1 << 24  # codes of one chunk, all rows, levels and codebooks


@dataclass(frozen=True)
class AudioHeader:
    """Sound: what the recording was, and the rate at which the model coded it.

    Attributes:
        sample_rate: of the recording, in Hz.
        num_samples: per channel, exact.
        channels: as coded (1 after a mixdown).
        model_rate: rate the model works at, in Hz.
    """

    sample_rate: int
    num_samples: int
    channels: int
    model_rate: int

    @property
    def coded_samples(self) -> int:
        """Samples per channel at the model's rate."""
        return coded_length(self.num_samples, self.sample_rate, self.model_rate)

    @property
    def size(self) -> tuple[int, ...]:
        """Extent of the coded signal: (samples,)."""
        return (self.coded_samples,)

    @property
    def duration_s(self) -> float:
        """Length of the recording."""
        return self.num_samples / self.sample_rate


@dataclass(frozen=True)
class PictureHeader:
    """A picture, upright: size in pixels, and what to give back besides colour.

    Attributes:
        grey: the picture had no colour, and comes back without.
        alpha: a lossless plane of transparency follows the chunks.
        deep: the source had 16 bits per channel; 8 come back.
    """

    width: int
    height: int
    grey: bool = False
    alpha: bool = False
    deep: bool = False

    @property
    def size(self) -> tuple[int, ...]:
        """Extent of the coded signal: (height, width)."""
        return (self.height, self.width)


@dataclass(frozen=True)
class LevelHeader:
    """One level of codes: one code per `downsample_factor` positions per axis and codebook."""

    downsample_factor: int
    codebook_size: int
    num_active: int


@dataclass(frozen=True)
class PriorHeader:
    """The coding prior of a file; its fingerprint is 16 hexadecimal digits."""

    name: str
    fingerprint: str


@dataclass(frozen=True)
class Header:
    """Everything but the table of chunks.

    Attributes:
        model, fingerprint: who wrote the codes; the fingerprint is 16 hexadecimal digits.
        rows: signals coded side by side: channels of the recording over channels of the model.
        levels: coarse to fine.
        step: codes of the coarsest level in one chunk, per axis; the last of an axis may be shorter.
        prior: what chunks may be coded with beside the model's histograms.
    """

    model: str
    fingerprint: str
    media: AudioHeader | PictureHeader
    rows: int
    levels: tuple[LevelHeader, ...]
    step: tuple[int, ...]
    prior: PriorHeader | None = None

    @property
    def version(self) -> int:
        """Of the format: the oldest that can say it."""
        return 1 if self.prior is None else 2

    @property
    def size(self) -> tuple[int, ...]:
        """Extent of the coded signal per axis."""
        return self.media.size

    @property
    def factor(self) -> int:
        """Signal positions per code of the coarsest level, per axis."""
        return max(level.downsample_factor for level in self.levels)

    @property
    def num_active(self) -> int:
        """Codebooks in use, of the level that uses the most."""
        return max(level.num_active for level in self.levels)

    @property
    def codes_size(self) -> tuple[int, ...]:
        """Codes of the coarsest level per axis."""
        return tuple(-(-extent // self.factor) for extent in self.size)

    @property
    def grid(self) -> tuple[int, ...]:
        """Chunks per axis."""
        return tuple(-(-codes // step) for codes, step in zip(self.codes_size, self.step, strict=True))

    @property
    def num_chunks(self) -> int:
        """Chunks of codes in the file."""
        return math.prod(self.grid)

    def cell(self, index: int) -> tuple[slice, ...]:
        """Chunk `index` (raster order) in codes of the coarsest level."""
        slices = []
        for count, step, codes in reversed(list(zip(self.grid, self.step, self.codes_size, strict=True))):
            index, place = divmod(index, count)
            slices.append(slice(place * step, min((place + 1) * step, codes)))
        return tuple(reversed(slices))

    def target(self, index: int) -> tuple[slice, ...]:
        """Chunk `index` in positions of the coded signal."""
        return tuple(
            slice(part.start * self.factor, min(part.stop * self.factor, extent))
            for part, extent in zip(self.cell(index), self.size, strict=True)
        )

    def shapes(self, index: int) -> tuple[tuple[int, ...], ...]:
        """Shape [rows, q, *space] of the codes of chunk `index`, per level."""
        return tuple(
            (
                self.rows,
                level.num_active,
                *((part.stop - part.start) * (self.factor // level.downsample_factor) for part in self.cell(index)),
            )
            for level in self.levels
        )

    def where(self, index: int) -> str:
        """Chunk `index` in words: which one, and the seconds or pixels it covers; after the last comes transparency."""
        if index == self.num_chunks:
            return "the plane of transparency"
        target = self.target(index)
        if isinstance(self.media, AudioHeader):
            start, stop = (edge / self.media.model_rate for edge in (target[0].start, target[0].stop))
            place = f"seconds {start:.2f} to {stop:.2f}"
        else:
            rows, columns = target
            place = f"pixels x {columns.start} to {columns.stop - 1}, y {rows.start} to {rows.stop - 1}"
        return f"chunk {index + 1} of {self.num_chunks} ({place})"

    def check(self) -> None:
        """Refuse what no encoder writes, before anything of that size is allocated.

        Raises:
            ValueError: which field is out of bounds.
        """
        _check_media(self.media)
        _check(1 <= len(self.levels) <= MAX_LEVELS, "number of levels")
        for level in self.levels:
            _check(1 <= level.downsample_factor <= MAX_FACTOR, "downsample factor")
            _check(self.factor % level.downsample_factor == 0, "downsample factors")
            _check(1 <= level.codebook_size <= MAX_CODEBOOK_SIZE, "codebook size")
            _check(1 <= level.num_active <= MAX_CODEBOOKS, "number of codebooks")
        channels = self.media.channels if isinstance(self.media, AudioHeader) else 1
        _check(self.rows >= 1 and channels % self.rows == 0, "number of rows")
        _check(all(step >= 1 for step in self.step), "chunk extent")
        _check(sum(math.prod(shape) for shape in self.shapes(0)) <= MAX_CHUNK_CODES, "chunk size")


def coded_length(num_samples: int, sample_rate: int, model_rate: int) -> int:
    """Samples at `model_rate` for `num_samples` at `sample_rate`: the nearest number, at least 1."""
    return max(1, (2 * num_samples * model_rate + sample_rate) // (2 * sample_rate))


def _check_media(media: AudioHeader | PictureHeader) -> None:
    if isinstance(media, PictureHeader):
        _check(media.width >= 1 and media.height >= 1, "picture size")
        _check(media.width * media.height <= MAX_PIXELS, "picture size")
        return
    _check(1 <= media.sample_rate <= MAX_SAMPLE_RATE, "sample rate")
    _check(1 <= media.model_rate <= MAX_SAMPLE_RATE, "sample rate of the model")
    _check(1 <= media.channels <= MAX_CHANNELS, "number of channels")
    _check(media.num_samples >= 1, "number of samples")


def _check(holds: bool, field: str) -> None:
    if not holds:
        raise ValueError(f"impossible {field}")


def nominal_bps(levels: Sequence[LevelHeader], sample_rate: int, rows: int = 1) -> float:
    """Bits per second of codes that are all equally likely: frame rate times log2 K, over all codebooks and rows.

    Args:
        sample_rate: of the model, in Hz.
        rows: signals coded side by side.
    """
    return rows * sum(
        sample_rate / level.downsample_factor * level.num_active * math.log2(level.codebook_size) for level in levels
    )
