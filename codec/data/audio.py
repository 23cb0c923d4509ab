"""Sound in and out of files as `[channels, time]` float32 in [-1, 1]."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from codec.core.errors import UserError
from codec.data.audio_source import AudioInfo, AudioSource, audio_info
from codec.data.audio_stream import AudioStream, check_channels, mix_channels, resampled_length, stream_audio
from codec.data.audio_writer import AudioWriter, write_audio

__all__ = [
    "AudioInfo",
    "AudioSource",
    "AudioStream",
    "AudioWriter",
    "audio_info",
    "mix_channels",
    "read_audio",
    "resampled_length",
    "stream_audio",
    "write_audio",
]


def read_audio(
    path: str | Path | BinaryIO,
    *,
    sample_rate: int | None = None,
    channels: int | None = None,
    start: int = 0,
    num_samples: int | None = None,
) -> tuple[Tensor, int]:
    """Read a recording, or a stretch of it, as (`[channels, time]` float32, rate in Hz).

    The whole is what `stream_audio` gives, joined; a stretch is exactly that slice of the whole.

    Args:
        sample_rate: Hz wanted; None keeps the file's own.
        channels: 1 mixes down (mean); n copies mono n times; None keeps the file's own.
        start, num_samples: the stretch, in samples at the rate wanted; it may end early with the recording.

    Raises:
        UserError: not audio, no samples, damaged, channels that cannot be had, or a start past the end.
    """
    assert start >= 0 and (num_samples is None or num_samples >= 0)
    with AudioSource(path) as source:
        rate = sample_rate or source.info.sample_rate
        total = resampled_length(source.info.num_samples, source.info.sample_rate, rate)
        if start >= total:
            raise UserError(f"{source.name} has {total} samples at {rate} Hz: cannot start at {start}")
        stop = total if num_samples is None else min(total, start + num_samples)
        if rate == source.info.sample_rate:
            return _read_native(source, start, stop - start, channels), rate
        return _read_resampled(AudioStream(source, sample_rate=rate, channels=channels), start, stop), rate


def _read_native(source: AudioSource, start: int, num_samples: int, channels: int | None) -> Tensor:
    wanted = channels or source.info.channels
    check_channels(source.name, source.info.channels, wanted)
    pieces = [mix_channels(piece, wanted) for piece in source.blocks(start, num_samples)]
    frames = np.concatenate(pieces) if pieces else np.zeros((0, wanted), np.float32)
    return torch.from_numpy(np.ascontiguousarray(frames.T))


def _read_resampled(stream: AudioStream, start: int, stop: int) -> Tensor:
    kept, position = [], 0
    for block in stream:
        kept.append(block[:, max(0, start - position) : max(0, stop - position)])
        position += block.shape[1]
        if position >= stop:
            break
    return torch.cat(kept, dim=1)
