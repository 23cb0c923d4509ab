"""A model without weights: codes are pooled pixel values, in integers, so that whole files are the same on any machine.

It has two levels of codes (coarse and fine), as a pyramid of quantizers does, and any number of axes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from codec.core.overlap import Chunk
from codec.models.base import CodeGrid
from codec.models.chunking import decode_grid, encode_grid
from codec.models.media import AudioMedia, ImageMedia


class Pyramid:
    """Level 0: means of `8 ** ndim` values in 16 steps. Level 1: of `4 ** ndim` values in 2 codebooks of 5 steps."""

    def __init__(self, media: AudioMedia | ImageMedia, *, step: int):
        self.media = media
        self.name, self.fingerprint = "stand-in", "00112233445566ff"
        self.levels = (CodeGrid(1, 16, 8), CodeGrid(2, 5, 4))
        self.rates = (1, 2)
        self.downsample_factor = 8
        self._step = step

    def encode_chunks(self, size: tuple[int, ...], *, first: int = 0) -> Iterator[Chunk]:
        return encode_grid(
            size,
            first=first,
            factor=8,
            step=self._step,
            needs=lambda span: span.__class__(span.start * 8, span.stop * 8),
        )

    def decode_chunks(self, size: tuple[int, ...], *, first: int = 0) -> Iterator[Chunk]:
        return decode_grid(
            size,
            first=first,
            factor=8,
            step=self._step,
            needs=lambda span: span.__class__(span.start // 8, -(-span.stop // 8)),
        )

    def encode_chunk(self, window: Tensor, chunk: Chunk, *, num_active: int | None = None) -> tuple[Tensor, ...]:
        values = ((window + 1) * 127.5).round().long().clamp(0, 255).sum(dim=1, keepdim=True) // window.shape[1]
        for axis in range(2, values.dim()):
            extra = -values.shape[axis] % 8
            last = values.narrow(axis, values.shape[axis] - 1, 1)
            values = torch.cat([values, last.repeat_interleave(extra, axis)], axis)
        fine = _pooled(values, 4)
        fine = torch.cat([fine * 5 // 256, fine * 25 // 256 % 5], dim=1)
        return _pooled(values, 8) * 16 // 256, fine[:, :num_active]

    def decode_chunk(self, codes: tuple[Tensor, ...], chunk: Chunk) -> Tensor:
        coarse, fine = codes
        assert [8 * (part.stop - part.start) for part in chunk.source] == [8 * extent for extent in coarse.shape[2:]]
        first = fine[:, :1] * 51 + 25
        values = first if fine.shape[1] == 1 else first + fine[:, 1:] * 10 - 20
        for axis in range(2, values.dim()):
            values = values.repeat_interleave(4, axis)
            coarse = coarse.repeat_interleave(8, axis)
        signal = ((values + coarse * 16 + 8) // 2 / 127.5 - 1).repeat_interleave(self.media.channels, 1)
        extents = [part.stop - part.start for part in chunk.target]
        return signal[(..., *(slice(extent) for extent in extents))]

    def code_histograms(self, num_active: int | None = None) -> tuple[Tensor, ...]:
        return torch.arange(1, 17)[None], torch.tensor([[9, 1, 1, 4, 2], [1, 1, 1, 1, 1]])


def pyramid(kind: str, *, step: int = 4) -> Any:
    """The stand-in where a model is expected."""
    return Pyramid(AudioMedia(sample_rate=8000) if kind == "audio" else ImageMedia(), step=step)


def _pooled(values: Tensor, factor: int) -> Tensor:
    for axis in range(2, values.dim()):
        values = values.unflatten(axis, (-1, factor)).sum(axis + 1)
    return values // factor ** (values.dim() - 2)
