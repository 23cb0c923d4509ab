"""Sounds and pictures as data URIs, so that a page needs nothing but itself."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import soundfile
import torch
from PIL import Image
from torch import Tensor

from codec.data.audio import write_audio
from codec.data.image import write_image

_MIME = {".jpg": "image/jpeg", ".webp": "image/webp", ".avif": "image/avif"}
_MP3_LEVEL = 0.63  # of 160 (0) to 8 kbit/s (1), what libsndfile has at 16 kHz
_VIEW = (768, 1024)  # height and width up to which pictures are shown whole


def sound_uri(signal: Tensor, sample_rate: int) -> str:
    """`[c, time]` as a 16-bit FLAC file; more than two channels are mixed down, since browsers play two."""
    buffer = io.BytesIO()
    playable = signal if len(signal) <= 2 else signal.mean(0, keepdim=True)
    write_audio(buffer, playable, sample_rate, suffix=".flac")
    return _uri(buffer.getvalue(), "audio/flac")


def small_sound_uri(signal: Tensor, sample_rate: int) -> str:
    """`[1, time]` as MP3 at about 64 kbit/s, which at 16 kHz is hardly told from the sound itself."""
    buffer = io.BytesIO()
    soundfile.write(
        buffer, signal[0].numpy(), sample_rate, format="MP3", bitrate_mode="CONSTANT", compression_level=_MP3_LEVEL
    )
    return _uri(buffer.getvalue(), "audio/mpeg")


def small_image_uri(image: Image.Image, size: tuple[int, int]) -> str:
    """A Pillow image as WebP of at most `size`, width and height."""
    buffer = io.BytesIO()
    width, height = min(size[0], image.width), min(size[1], image.height)
    small = image.convert("RGB").resize((width, height), Image.Resampling.BOX)
    small.save(buffer, "WEBP", quality=70, method=6)
    return _uri(buffer.getvalue(), "image/webp")


def picture_uri(signal: Tensor) -> str:
    """`[3, height, width]` in [-1, 1] as a PNG file; of a large picture the part `view` shows."""
    buffer = io.BytesIO()
    write_image(buffer, view(signal), image_format="PNG")
    return _uri(buffer.getvalue(), "image/png")


def coded_picture_uri(signal: Tensor, coded: Path) -> str:
    """The compressed picture itself where browsers show it whole, else what it decodes to."""
    if coded.suffix in _MIME and view(signal).shape == signal.shape:
        return _uri(coded.read_bytes(), _MIME[coded.suffix])
    return picture_uri(signal)


def image_uri(image: Image.Image) -> str:
    """A Pillow image as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return _uri(buffer.getvalue(), "image/png")


def view(signal: Tensor) -> Tensor:
    """The picture, or its middle 1024x768 at full resolution where it is larger than that."""
    for axis, most in zip((1, 2), _VIEW, strict=True):
        if (extra := signal.shape[axis] - most) > 0:
            signal = torch.narrow(signal, axis, extra // 2, most)
    return signal


def _uri(content: bytes, mime: str) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"
