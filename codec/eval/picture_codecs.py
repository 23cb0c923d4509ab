"""Classical codecs of pictures on the same signals: JPEG, WebP and AVIF by Pillow, JPEG XL by its own programs."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image, features
from torch import Tensor

from codec.data.image import read_image, write_image
from codec.eval.rivals import RivalFailure, RivalResult, attempt, run_program

_SEARCH_PIXELS = 1_000_000
_BAND = 64  # rows


@dataclass(frozen=True)
class PictureCodec:
    """A codec with one integer quality, more bytes for more of it.

    Attributes:
        name: for people.
        suffix: of its files.
        ladder: qualities in order, dense enough to draw straight lines between them, from the least to the most used.
        is_here: whether this machine has it.
        encode: writes the picture in one file into another at a quality, and tells the seconds.
        decode: reads it back, `[3, height, width]`, and tells the seconds.
    """

    name: str
    suffix: str
    ladder: tuple[int, ...]
    is_here: Callable[[], bool]
    encode: Callable[[Path, Path, int], float]
    decode: Callable[[Path], tuple[Tensor, float]]


def _of_pillow(name: str, suffix: str, ladder: tuple[int, ...], **options: Any) -> PictureCodec:
    def encode(source: Path, coded: Path, quality: int) -> float:
        with Image.open(source) as picture:
            picture.load()
            start = time.perf_counter()
            picture.save(coded, quality=quality, **options)
            return time.perf_counter() - start

    def decode(coded: Path) -> tuple[Tensor, float]:
        start = time.perf_counter()
        signal = read_image(coded).signal
        return signal, time.perf_counter() - start

    return PictureCodec(name, suffix, ladder, lambda: bool(features.check(suffix[1:])), encode, decode)


def _jpeg_xl(ladder: tuple[int, ...]) -> PictureCodec:
    def encode(source: Path, coded: Path, quality: int) -> float:
        return run_program("cjxl", source, coded, "--quiet", f"--quality={quality}", "--num_threads=0")

    def decode(coded: Path) -> tuple[Tensor, float]:
        decode_s = run_program("djxl", coded, decoded := coded.with_suffix(".ppm"), "--quiet", "--num_threads=0")
        return read_image(decoded).signal, decode_s

    def is_here() -> bool:
        return bool(shutil.which("cjxl") and shutil.which("djxl"))

    return PictureCodec("JPEG XL", ".jxl", ladder, is_here, encode, decode)


PICTURE_CODECS = (
    _of_pillow("JPEG", ".jpg", (1, 3, 5, 7, 10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90, 95), optimize=True),
    _of_pillow("WebP", ".webp", (0, 1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95), method=6),
    _of_pillow("AVIF", ".avif", (0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 60, 70, 80, 90), speed=6),
    _jpeg_xl((5, 7, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 95)),
)


def picture_rivals(signal: Tensor, folder: Path, *, num_bytes: int) -> list[RivalResult | RivalFailure]:
    """Every codec that is here, each at the quality whose file is nearest in size to `num_bytes`.

    The quality of a large picture is looked for on a million of its pixels, and then used on all of it.

    Args:
        signal: `[3, height, width]` in [-1, 1].
        folder: where their files go.
    """
    return [
        attempt(codec.name, partial(_nearest, codec, signal, folder, num_bytes))
        for codec in PICTURE_CODECS
        if codec.is_here()
    ]


def picture_sweep(signal: Tensor, folder: Path) -> Iterator[RivalResult | RivalFailure]:
    """Every codec that is here, at every quality of its ladder.

    Args:
        signal: `[3, height, width]` in [-1, 1].
        folder: where their files go.
    """
    source = _stored(signal, folder / "sweep-in.ppm")
    for codec in PICTURE_CODECS:
        for quality in codec.ladder if codec.is_here() else ():
            yield attempt(codec.name, partial(_at_quality, codec, source, folder, quality))


def _nearest(codec: PictureCodec, signal: Tensor, folder: Path, num_bytes: int) -> RivalResult:
    sample = _bands(signal)
    source = _stored(sample, folder / "search-in.ppm")
    coded = folder / f"search{codec.suffix}"

    def size_at(quality: int) -> int:
        codec.encode(source, coded, quality)
        return coded.stat().st_size

    wanted = round(num_bytes * sample.shape[1] / signal.shape[1])
    quality = nearest_quality(size_at, wanted, lowest=codec.ladder[0], highest=codec.ladder[-1])
    note = "as small as it gets" if quality == codec.ladder[0] and size_at(quality) > 1.05 * wanted else ""
    return _at_quality(codec, _stored(signal, folder / "rival-in.ppm"), folder, quality, note)


def _at_quality(codec: PictureCodec, source: Path, folder: Path, quality: int, note: str = "") -> RivalResult:
    coded = folder / f"rival-{quality}{codec.suffix}"
    encode_s = codec.encode(source, coded, quality)
    signal, decode_s = codec.decode(coded)
    return RivalResult(codec.name, f"quality {quality}", coded, coded.stat().st_size, signal, encode_s, decode_s, note)


def _stored(signal: Tensor, path: Path) -> Path:
    write_image(path, signal)
    return path


def _bands(signal: Tensor) -> Tensor:
    """The picture, or evenly spread bands of 64 rows that hold about a million of its pixels."""
    _, height, width = signal.shape
    count = max(1, _SEARCH_PIXELS // (_BAND * width))
    if height <= 2 * _BAND * count:
        return signal
    tops = ((height - _BAND) * band // max(1, count - 1) for band in range(count))
    return torch.cat([signal[:, top : top + _BAND] for top in tops], dim=1)


def nearest_quality(size_at: Callable[[int], int], wanted: int, *, lowest: int, highest: int) -> int:
    """The quality whose size is nearest to `wanted`, by bisection; sizes grow with quality."""
    sizes: dict[int, int] = {}

    def size(quality: int) -> int:
        if quality not in sizes:
            sizes[quality] = size_at(quality)
        return sizes[quality]

    low, high = lowest, highest
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(middle) <= wanted else (low, middle)
    return min((low, high), key=lambda quality: (abs(size(quality) - wanted), quality))
