"""Recordings of any length, in constant memory, at any sample rate."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soxr
import torch
from torch import Tensor

from codec.core.errors import UserError
from codec.data.audio_source import AudioInfo, AudioSource


def resampled_length(num_samples: int, source_rate: int, target_rate: int) -> int:
    """Samples that `num_samples` at `source_rate` (Hz) become at `target_rate`: rounded, at least 1."""
    return max(1, (2 * num_samples * target_rate + source_rate) // (2 * source_rate))


class AudioStream(Iterator[Tensor]):
    """Blocks `[channels, block]` float32 (the last one shorter) of a recording, resampled on the way.

    The samples do not depend on `block`: the source is always read in the same pieces. Attributes:
        info: the source as it is on disk (its exact length at its own rate).
        sample_rate, channels, num_samples: of what comes out; `num_samples` is exact before anything is read.
    """

    def __init__(
        self,
        source: AudioSource,
        *,
        sample_rate: int | None = None,
        channels: int | None = None,
        block: int = 1 << 16,
    ) -> None:
        assert block > 0
        self.info: AudioInfo = source.info
        self.sample_rate = sample_rate or source.info.sample_rate
        self.channels = channels or source.info.channels
        check_channels(source.name, source.info.channels, self.channels)
        self.num_samples = resampled_length(source.info.num_samples, source.info.sample_rate, self.sample_rate)
        self._source = source
        self._blocks = self._cut(block)

    def __iter__(self) -> AudioStream:
        return self

    def __next__(self) -> Tensor:
        return next(self._blocks)

    def __enter__(self) -> AudioStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the recording; reading on raises StopIteration."""
        self._blocks.close()
        self._source.close()

    def _cut(self, block: int) -> Generator[Tensor]:
        """Re-cut the pieces that come out of the resampler into blocks, exactly `num_samples` in all."""
        held: list[np.ndarray] = []
        held_frames, remaining = 0, self.num_samples
        for piece in self._pieces():
            piece = piece[: remaining - held_frames]
            held.append(piece)
            held_frames += len(piece)
            while held_frames >= block:
                joined = np.concatenate(held)
                yield _as_signal(joined[:block])
                held, held_frames, remaining = [joined[block:]], held_frames - block, remaining - block
        if remaining:
            tail = np.zeros((remaining, self.channels), np.float32)
            tail[:held_frames] = np.concatenate(held)
            yield from (_as_signal(tail[at : at + block]) for at in range(0, remaining, block))
        self._source.close()

    def _pieces(self) -> Iterator[np.ndarray]:
        mixed = (mix_channels(piece, self.channels) for piece in self._source.blocks())
        if self.sample_rate == self.info.sample_rate:
            yield from mixed
            return
        resampler = soxr.ResampleStream(
            self.info.sample_rate, self.sample_rate, self.channels, dtype="float32", quality="HQ"
        )
        for piece in mixed:
            yield resampler.resample_chunk(np.ascontiguousarray(piece), last=False)
        yield resampler.resample_chunk(np.zeros((0, self.channels), np.float32), last=True)


def stream_audio(
    path: str | Path | BinaryIO,
    *,
    sample_rate: int | None = None,
    channels: int | None = None,
    block: int = 1 << 16,
) -> AudioStream:
    """Open a recording as an iterator of `[channels, block]` float32 tensors, in constant memory.

    Args:
        path: a file name or an open binary file; a pipe is spooled to disk first.
        sample_rate: Hz wanted; None keeps the file's own. Resampled by soxr (HQ).
        channels: 1 mixes down (mean); n copies mono n times; None keeps the file's own.
        block: samples per block; the last one is shorter.

    Raises:
        UserError: not audio, no samples, damaged, or channels that cannot be had.
    """
    source = AudioSource(path)
    try:
        return AudioStream(source, sample_rate=sample_rate, channels=channels, block=block)
    except BaseException:
        source.close()
        raise


def mix_channels(frames: np.ndarray, channels: int) -> np.ndarray:
    """`[frames, c]` as `[frames, channels]`: the same, the mean of all, or mono copied."""
    if frames.shape[1] == channels:
        return frames
    return np.repeat(frames.mean(axis=1, keepdims=True, dtype=np.float32), channels, axis=1)


def check_channels(name: str, present: int, wanted: int) -> None:
    """Raise UserError unless `present` channels can become `wanted`: equal, mixed to 1, or copied from 1."""
    if wanted not in (1, present) and present != 1:
        raise UserError(f"{name} has {present} channels, {wanted} were asked for: ask for 1 to mix them down")


def _as_signal(frames: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames.T))
