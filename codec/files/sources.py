"""Recordings and pictures as an encoder wants them: a header, and windows of signal on request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from torch import Tensor

from codec.core.errors import UserError
from codec.data.audio import AudioStream, stream_audio
from codec.data.image import read_image
from codec.files.container import MAGIC
from codec.files.errors import EmptyFileError, UnreadableMediaError, WrongMediaError
from codec.files.header import MAX_CHANNELS, MAX_PIXELS, AudioHeader, PictureHeader
from codec.files.streams import kind_of
from codec.files.windows import SignalWindow
from codec.models.media import AudioMedia, ImageMedia

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's mode L


@dataclass
class AudioSignal:
    """A recording at the model's rate, each group of the model's channels a row of its own."""

    media: AudioHeader
    rows: int
    window: SignalWindow
    notes: tuple[str, ...] = ()
    alpha: None = None

    def read(self, window: tuple[slice, ...]) -> Tensor:
        (time,) = window
        return self.window.take(time).unflatten(0, (self.rows, -1))


@dataclass
class PictureSignal:
    """A picture, whole in memory."""

    media: PictureHeader
    signal: Tensor  # [channels, height, width]
    alpha: npt.NDArray[np.uint8] | None
    notes: tuple[str, ...]
    rows: int = field(default=1, init=False)

    def read(self, window: tuple[slice, ...]) -> Tensor:
        return self.signal[(slice(None), *window)].unsqueeze(0)


# `read` gives [rows, channels, *space] of a window; windows are asked for in raster order.
Source = AudioSignal | PictureSignal


@contextmanager
def open_source(file: BinaryIO, name: str, media: AudioMedia | ImageMedia, *, mono: bool) -> Iterator[Source]:
    """The contents of `file` for a model of `media`.

    Raises:
        UserError: empty, unreadable, of the other kind, or with channels the model cannot take.
    """
    _check_kind(file, name, media)
    if isinstance(media, ImageMedia):
        yield _picture(file, name, media, mono)
        return
    with _unreadable():
        stream = stream_audio(file, sample_rate=media.sample_rate, channels=1 if mono else None)
    with stream:
        yield _recording(stream, name, media)


def _recording(stream: AudioStream, name: str, media: AudioMedia) -> AudioSignal:
    info, channels = stream.info, stream.channels
    if (channels % media.channels and channels != 1) or channels > MAX_CHANNELS:
        raise WrongMediaError(
            f"{name} has {channels} channels; this model codes {media.channels} at a time: pass --mono"
        )
    blocks: Iterator[Tensor] = _readable(stream)
    if channels == 1 and media.channels > 1:
        blocks = (block.expand(media.channels, -1) for block in blocks)
    rows = max(1, channels // media.channels)
    notes = () if channels == info.channels else (f"{info.channels} channels were mixed down to one",)
    header = AudioHeader(info.sample_rate, info.num_samples, channels, media.sample_rate)
    assert header.coded_samples == stream.num_samples
    return AudioSignal(header, rows, SignalWindow(blocks), notes)


def _picture(file: BinaryIO, name: str, media: ImageMedia, mono: bool) -> PictureSignal:
    with _unreadable():
        picture = read_image(file)
    if picture.width * picture.height > MAX_PIXELS:
        raise UnreadableMediaError(f"{name} has {picture.width}x{picture.height} pixels: more than {MAX_PIXELS}")
    signal, grey = picture.signal, picture.is_grey
    if media.channels == 1 and not (grey or mono):
        raise WrongMediaError(f"{name} is in colour; this model codes grey pictures: pass --mono")
    notes: list[str] = []
    if mono and not grey:
        signal = sum(weight * part for weight, part in zip(_LUMA, signal, strict=True)).expand(3, -1, -1)  # type: ignore[union-attr]
        grey = True
        notes.append("colour was turned to grey")
    deep = picture.bit_depth > 8
    if deep:
        notes.append("the source has 16 bits per channel: 8 come back")
    alpha = None
    if picture.alpha is not None:
        alpha = (picture.alpha[0] * 255.0).round().byte().numpy()
    header = PictureHeader(picture.width, picture.height, grey, alpha is not None, deep)
    return PictureSignal(header, signal[: media.channels], alpha, tuple(notes))


def _check_kind(file: BinaryIO, name: str, media: AudioMedia | ImageMedia) -> None:
    if not file.read(1):
        raise EmptyFileError(f"{name} is empty (0 bytes): there is nothing to encode")
    kind = kind_of(file)
    if kind == "vqc":
        raise WrongMediaError(f"{name} is a .vqc file already (it starts with {MAGIC!r}): decode it instead")
    if kind == "image" and isinstance(media, AudioMedia):
        raise WrongMediaError(f"{name} is a picture, and this model codes sound: choose a model of pictures")
    if kind == "audio" and isinstance(media, ImageMedia):
        raise WrongMediaError(f"{name} is a recording, and this model codes pictures: choose a model of sound")


def _readable(blocks: Iterator[Tensor]) -> Iterator[Tensor]:
    with _unreadable():
        yield from blocks


@contextmanager
def _unreadable() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UnreadableMediaError(str(error)) from None
