"""Decoded signal into a recording at its own rate and exact length, or into a picture of its exact size."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from pathlib import Path

import soxr
import torch
from PIL import Image
from torch import Tensor

from codec.core.errors import UserError
from codec.data.audio import AudioWriter
from codec.data.image import write_image
from codec.files.decoder import Decoder
from codec.files.errors import OutputError
from codec.files.header import AudioHeader, PictureHeader
from codec.files.streams import Place, is_path, open_output, output_place
from codec.files.windows import SignalWindow

_CELL_VALUES = 1 << 20  # resampled at once: channels by samples of the higher rate
_FILTER_SAMPLES = 512  # that a resampled one depends on, on each side, of the lower rate: more than it does


def write_recording(
    decoder: Decoder,
    media: AudioHeader,
    target: Place,
    *,
    suffix: str | None,
    model_rate: bool,
    interval: tuple[float, float | None] = (0.0, None),
) -> float:
    """Decode into a recording, one chunk in memory at a time, and return how many seconds were written.

    Args:
        suffix: the format, such as ".flac"; the target's own if None, .wav for a pipe.
        model_rate: keep the model's sample rate instead of restoring the recording's.
        interval: the part to write, from so many seconds on and so many long (None: to the end): exactly that slice of
            the whole, for which only the chunks are read that it depends on.

    Raises:
        UserError: the format cannot be written, the file is damaged, or the interval is not in it.
    """
    rate = media.model_rate if model_rate else media.sample_rate
    length = media.coded_samples if model_rate else media.num_samples
    part = samples_of(interval, rate, length, decoder.name)
    if rate == media.model_rate:
        blocks = (as_channels(signal, media.channels) for signal in decoder.stretch(part))
    else:
        blocks = _resampled(decoder, media, rate, part)
    with (
        output_place(target) as place,
        AudioWriter(place, rate, media.channels, suffix=suffix) as writer,
    ):
        _write_exactly(writer, blocks, part.stop - part.start, media.channels)
    return (part.stop - part.start) / rate


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


def check_suffix(suffix: str, *, sound: bool, pictures: bool) -> None:
    """Refuse a format that nothing of what there is can be written in.

    Raises:
        UserError: says which formats there are.
    """
    try:
        if sound:
            AudioWriter(io.BytesIO(), 16000, 1, suffix=suffix)
            return
    except UserError:
        if not pictures:
            raise
    _image_format("-", suffix)


def as_channels(signal: Tensor, channels: int) -> Tensor:
    """[rows, c, time] as the recording's [channels, time]; or the mean of copies of mono."""
    joined = signal.flatten(0, 1)
    return joined if joined.shape[0] == channels else joined.mean(dim=0, keepdim=True)


def samples_of(interval: tuple[float, float | None], rate: int, length: int, name: str) -> slice:
    """The `interval` (start and duration in seconds) of a recording of `length` samples at `rate`; at least one.

    Raises:
        OutputError: it starts after the end, or has no duration.
    """
    start_s, duration_s = interval
    if not (start_s >= 0 and start_s * rate < length):
        raise OutputError(f"{name} has {length / rate:.2f} s: cannot start at {start_s:g} s")
    if duration_s is not None and not duration_s > 0:
        raise OutputError(f"a duration of {duration_s:g} s was asked for: take more than 0")
    start = min(round(start_s * rate), length - 1)
    if duration_s is None or duration_s * rate >= length:
        return slice(start, length)
    return slice(start, min(start + max(1, round(duration_s * rate)), length))


def _resampled(decoder: Decoder, media: AudioHeader, rate: int, part: slice) -> Iterator[Tensor]:
    """`part` of the recording at `rate`, in blocks [channels, n].

    Cells of a grid are resampled one by one, each with what surrounds it, so that any part is a slice of the whole.
    """
    shared = math.gcd(media.model_rate, rate)
    coarse, fine = media.model_rate // shared, rate // shared  # so many samples at each rate take the same time
    step = max(1, _CELL_VALUES // (media.channels * max(coarse, fine)))
    margin = -(-_FILTER_SAMPLES // min(coarse, fine))
    cells = range(part.start // (step * fine), -(-part.stop // (step * fine)))
    sources = [
        slice(max(0, (cell * step - margin) * coarse), min(((cell + 1) * step + margin) * coarse, media.coded_samples))
        for cell in cells
    ]
    window = SignalWindow(decoder.stretch(slice(sources[0].start, sources[-1].stop)), sources[0].start)
    for cell, source in zip(cells, sources, strict=True):
        signal = as_channels(window.take(source), media.channels)
        frames = soxr.resample(signal.T.contiguous().numpy(), media.model_rate, rate, quality="HQ")
        first = source.start // coarse * fine
        start, stop = max(part.start, cell * step * fine), min(part.stop, (cell + 1) * step * fine)
        yield torch.from_numpy(frames[start - first : stop - first].T)


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
