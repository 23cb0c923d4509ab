"""Chunks of a .vqc file back to signal, and what to do where they are damaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from codec.core.overlap import Chunk
from codec.files.alpha import unpack_alpha
from codec.files.container import Contents, read_chunk
from codec.files.damage import damage_at, edges
from codec.files.errors import DamagedChunkError, TruncatedFileError, WrongModelError
from codec.files.header import AudioHeader, Header, PictureHeader
from codec.files.payload import ChunkCoder, Codes
from codec.files.report import Damage, Progress
from codec.files.windows import CodeWindow
from codec.models.base import CodecModel
from codec.models.media import AudioMedia, ImageMedia
from codec.priors.coding import CodingPrior


def check_model(header: Header, model: CodecModel, name: str) -> None:
    """Refuse a model that did not write the file.

    Raises:
        WrongModelError: says which model the file wants.
    """
    fits = len(header.levels) == len(model.levels) and all(
        (mine.downsample_factor, mine.codebook_size) == (its.downsample_factor, its.codebook_size)
        and its.num_active <= mine.num_codebooks
        for mine, its in zip(model.levels, header.levels, strict=True)
    )
    fits = fits and _fits_media(header, model)
    if header.fingerprint != model.fingerprint or not fits:
        raise WrongModelError(
            f"{name} was written by model {header.model!r} (fingerprint {header.fingerprint}), not by "
            f"{model.name!r} ({model.fingerprint}): give that model with --model"
        )
    first = header.target(0)
    probe = tuple(min(part.stop + 1, extent) for part, extent in zip(first, header.size, strict=True))
    if next(iter(model.decode_chunks(probe))).target != first:
        raise WrongModelError(f"{name} was cut into other chunks than {model.name!r} cuts")


def _fits_media(header: Header, model: CodecModel) -> bool:
    its, mine = header.media, model.media
    if not isinstance(its, AudioHeader) or not isinstance(mine, AudioMedia):
        return isinstance(its, PictureHeader) and isinstance(mine, ImageMedia)
    fits = its.channels == header.rows * mine.channels or its.channels == header.rows == 1
    return fits and its.model_rate == mine.sample_rate


@dataclass
class Decoder:
    """Decodes the chunks of one file in order; after that, `damage` lists what was lost.

    Args:
        file: the .vqc file.
        name: its name for messages.
        prior: what the file was coded with, if it was with one.
        skip_damaged: put silence or grey in place of a broken chunk, instead of raising.
    """

    file: BinaryIO
    name: str
    contents: Contents
    model: CodecModel
    prior: CodingPrior | None = None
    skip_damaged: bool = False
    progress: Progress | None = None
    damage: dict[int, Damage] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_model(self.contents.header, self.model, self.name)
        self._coder = ChunkCoder.of(self.model, self.contents.header.num_active, self.prior)

    def __iter__(self) -> Iterator[tuple[Chunk, Tensor]]:
        """Every chunk and its signal [rows, channels, *space], silent or grey where it is lost.

        Raises:
            DamagedChunkError: a broken chunk, or nothing but broken chunks where they are to be skipped.
            TruncatedFileError: likewise, where the file ends too early.
        """
        return self._decoded(range(self.contents.header.num_chunks))

    def stretch(self, part: slice) -> Iterator[Tensor]:
        """Blocks [rows, channels, n] of `part` of a recording, in samples at the model's rate: a slice of the whole.

        Only chunks are read that this part depends on.

        Raises:
            DamagedChunkError, TruncatedFileError: as for the whole.
        """
        header = self.contents.header
        width = header.step[0] * header.factor
        for chunk, signal in self._decoded(range(part.start // width, -(-part.stop // width))):
            (target,) = chunk.target
            yield signal[..., max(0, part.start - target.start) : part.stop - target.start]

    def _decoded(self, indices: range) -> Iterator[tuple[Chunk, Tensor]]:
        header = self.contents.header
        window = CodeWindow(header, self._load)
        grid = self.model.decode_chunks(header.size, first=indices.start)
        for index in indices:
            chunk = next(grid)
            assert chunk.target == header.target(index), "the model's grid is not uniform"
            codes, touched = window.take(chunk.source)
            signal = self.model.decode_chunk(codes, chunk).cpu()
            self._widen(chunk, touched)
            yield chunk, torch.zeros_like(signal) if index in self.damage else signal
            if self.progress:
                self.progress(index + 1 - indices.start, len(indices))
        if self.damage.keys() >= set(indices):
            part = "every chunk is" if len(indices) == header.num_chunks else "all of that part is"
            raise DamagedChunkError(f"{self.name}: {part} damaged or missing, nothing can be recovered")

    def alpha(self, height: int, width: int) -> npt.NDArray[np.uint8]:
        """The plane of transparency [height, width]; opaque if it is damaged and damage is to be skipped."""
        index = self.contents.header.num_chunks
        try:
            return unpack_alpha(read_chunk(self.file, self.contents, index), height, width)
        except (ValueError, TruncatedFileError) as error:
            self._lost(index, error)
            return np.full((height, width), 255, dtype=np.uint8)

    def _load(self, index: int) -> Codes:
        header = self.contents.header
        shapes = header.shapes(index)
        try:
            data = read_chunk(self.file, self.contents, index)
            return self._coder.decode(data, self.contents.chunks[index].method, shapes)
        except ValueError as error:
            self._lost(index, error)
            return self._coder.likeliest(shapes)

    def _lost(self, index: int, error: Exception) -> None:
        damage = damage_at(self.contents.header, index, error)
        if not self.skip_damaged:
            kind = TruncatedFileError if isinstance(error, TruncatedFileError) else DamagedChunkError
            verdict = "missing" if kind is TruncatedFileError else "damaged"
            raise kind(
                f"{self.name}: {damage.where} is {verdict}: {damage.reason}; --skip-damaged recovers the rest"
            ) from None
        self.damage[index] = damage

    def _widen(self, chunk: Chunk, touched: list[int]) -> None:
        """Note that `chunk` was decoded next to lost codes: its part within their reach may differ."""
        header = self.contents.header
        for index in set(touched) & self.damage.keys() - {chunk.index}:
            damage = self.damage[index]
            start, stop = edges(header, _reach(header, index, chunk))
            self.damage[index] = replace(
                damage,
                affected_start=tuple(map(min, damage.affected_start, start)),
                affected_stop=tuple(map(max, damage.affected_stop, stop)),
            )


def _reach(header: Header, lost: int, chunk: Chunk) -> tuple[slice, ...]:
    """The part of `chunk`'s target, per axis in signal positions, that codes of chunk `lost` may have shaped.

    The decoder's context reaches as far on one side as on the other side of what it decodes, at most.
    """
    reach = []
    for gone, source, target in zip(header.target(lost), chunk.source, chunk.target, strict=True):
        before, after = target.start - source.start * header.factor, source.stop * header.factor - target.stop
        context = max(before, after, 0)
        start, stop = max(target.start, gone.start - context), min(target.stop, gone.stop + context)
        reach.append(slice(start, max(start, stop)))
    return tuple(reach)
