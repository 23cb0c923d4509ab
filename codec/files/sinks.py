"""Decoded signal into a recording at its own rate and exact length, or into a picture of its exact size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soxr
import torch
from PIL import Image
from torch import Tensor

from codec.data.audio import AudioWriter
from codec.data.image import write_image
from codec.files.decoder import Decoder
from codec.files.errors import OutputError
from codec.files.header import AudioHeader, PictureHeader
from codec.files.streams import Place, is_path, open_output, output_place

_BLOCK_VALUES = 1 << 20  # float32 values resampled at once


def write_recording(
    decoder: Decoder, media: AudioHeader, target: Place, *, suffix: str | None, model_rate: bool
) -> None:
    """Decode into a recording, one chunk in memory at a time.

    Args:
        suffix: the format, such as ".flac"; the target's own if None, .wav for a pipe.
        model_rate: keep the model's sample rate instead of restoring the recording's.

    Raises:
        UserError: the format cannot be written, or the file is damaged.
    """
    rate = media.model_rate if model_rate else media.sample_rate
    length = media.coded_samples if model_rate else media.num_samples
    blocks = (_channels(signal, media.channels) for _, signal in decoder)
    if rate != media.model_rate:
        blocks = _resampled(blocks, media.model_rate, rate, media.channels)
    with (
        output_place(target) as place,
        AudioWriter(place, rate, media.channels, suffix=suffix) as writer,
    ):
        _write_exactly(writer, blocks, length, media.channels)


def write_picture(decoder: Decoder, media: PictureHeader, target: Place, *, suffix: str | None) -> None:
    """Decode into a picture.

    Args:
        suffix: the format, such as ".jpg"; the target's own if None, .png for a pipe.

    Raises:
        UserError: the format cannot be written, or the file is damaged.
    """
    image_format = _image_format(target, suffix)
    with open_output(target) as out:
        picture = torch.empty(decoder.model.media.channels, *media.size)
        for chunk, signal in decoder:
            picture[(slice(None), *chunk.target)] = signal[0]
        alpha = None
        if media.alpha:
            alpha = torch.from_numpy(decoder.alpha(media.height, media.width)).float()[None] / 255.0
        write_image(out, picture, alpha=alpha, grey=media.grey, image_format=image_format)


def _channels(signal: Tensor, channels: int) -> Tensor:
    """[rows, c, time] as the recording's [channels, time]; or the mean of copies of mono."""
    joined = signal.flatten(0, 1)
    return joined if joined.shape[0] == channels else joined.mean(dim=0, keepdim=True)


def _resampled(blocks: Iterator[Tensor], source: int, target: int, channels: int) -> Iterator[Tensor]:
    resampler = soxr.ResampleStream(source, target, channels, dtype="float32", quality="HQ")
    step = max(1, _BLOCK_VALUES * source // (channels * max(source, target)))
    for block in blocks:
        for part in block.split(step, dim=1):
            yield _as_signal(resampler.resample_chunk(np.ascontiguousarray(part.T.numpy()), last=False))
    yield _as_signal(resampler.resample_chunk(np.zeros((0, channels), np.float32), last=True))


def _as_signal(frames: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames.T))


def _write_exactly(writer: AudioWriter, blocks: Iterator[Tensor], length: int, channels: int) -> None:
    """Write `length` samples: what is more (of a resampler's rounding) is cut, what is less is silence."""
    remaining = length
    for block in blocks:
        writer.write(block[:, :remaining])
        remaining -= min(remaining, block.shape[1])
    if remaining:
        writer.write(torch.zeros(channels, remaining))


def _image_format(target: Place, suffix: str | None) -> str:
    suffix = suffix or (Path(target).suffix if is_path(target) else ".png")
    name = Image.registered_extensions().get(suffix.lower())
    if name is None or name not in Image.SAVE:
        raise OutputError(f"cannot write pictures with the suffix {suffix!r}: use .png, .jpg or .webp")
    return name
