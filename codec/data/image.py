"""Pictures in and out of files, whatever their mode, as `[3, height, width]` float32 in [-1, 1]."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps
from torch import Tensor

from codec.core.atomic import atomic_path
from codec.core.errors import UserError

_SIXTEEN_BITS = re.compile(r";16[BLN]")  # in Pillow's names of raw modes; those of 16 bits a pixel have no letter
GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"})


@dataclass(frozen=True)
class Picture:
    """A decoded picture, upright.

    signal: `[3, height, width]` float32 in [-1, 1]; grey pictures have three equal channels.
    mode: the mode of the file in Pillow's words ("RGB", "L", "P", "CMYK", "I;16", ...).
    alpha: `[1, height, width]` float32 in [0, 1], or None when the file has no transparency.
    bit_depth: 8 or 16 bits per channel in the file.
    """

    signal: Tensor
    mode: str
    alpha: Tensor | None
    bit_depth: int

    @property
    def height(self) -> int:
        return self.signal.shape[1]

    @property
    def width(self) -> int:
        return self.signal.shape[2]

    @property
    def is_grey(self) -> bool:
        return self.mode in GREY_MODES

    def flattened(self) -> Tensor:
        """The signal laid over white where it is transparent, `[3, height, width]`."""
        if self.alpha is None:
            return self.signal
        return self.signal * self.alpha + (1.0 - self.alpha)


def read_image(path: str | Path | BinaryIO) -> Picture:
    """Decode any picture Pillow reads: 8/16 bit, grey, palette, alpha, CMYK; EXIF rotation applied.

    Of an animation the first frame is taken. Colour profiles are not applied.
    16-bit colour (unlike 16-bit grey) is read at 8 bits, as Pillow does.

    Raises:
        UserError: not a picture, an empty or truncated file, or a pixel format with no known range.
    """
    image, mode, bit_depth, name = _open_upright(path)
    if _is_deep(image):
        grey = _deep_grey(image, name)
        signal = torch.from_numpy(grey)[None].expand(3, -1, -1).contiguous()
        return Picture(signal, mode, None, 16)
    if image.mode == "RGBA":
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        return Picture(_to_signal(pixels[:3]), mode, pixels[3:].float() / 255.0, bit_depth)
    pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    return Picture(_to_signal(pixels), mode, None, bit_depth)


def read_pixels(path: str | Path, *, channels: int = 3) -> np.ndarray:
    """Decode a picture for training: uint8 `[height, width, channels]`, laid over white; 1 channel is luma.

    Raises:
        UserError: as `read_image`.
    """
    image, _, _, name = _open_upright(path)
    if _is_deep(image):
        grey = np.rint((_deep_grey(image, name) + 1.0) * 127.5).astype(np.uint8)
        return np.repeat(grey[..., None], channels, axis=2)
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    pixels = np.array(image.convert("L" if channels == 1 else "RGB"))
    return pixels[..., None] if channels == 1 else pixels


def write_image(
    path: str | Path | BinaryIO,
    signal: Tensor,
    *,
    alpha: Tensor | None = None,
    grey: bool = False,
    image_format: str | None = None,
    quality: int = 95,
) -> None:
    """Write a signal as an 8-bit picture in the format of the path's suffix.

    Args:
        signal: `[3 or 1, height, width]`, any values; clamped to [-1, 1] and rounded to the nearest of 256.
        alpha: `[1, height, width]` in [0, 1]; laid over white where the format has no transparency.
        grey: write one channel (the mean of the three).
        image_format: needed when `path` is an open file: "PNG", "JPEG", ...
        quality: of the formats that lose something.

    Raises:
        UserError: a suffix Pillow cannot write, or a path that cannot be written.
    """
    image = _to_image(signal, alpha, grey)
    if not isinstance(path, (str, Path)):
        _save(image, path, image_format or "PNG", quality, "the output")
        return
    target = Path(path)
    name = image_format or Image.registered_extensions().get(target.suffix.lower())
    if name is None or name not in Image.SAVE:
        raise UserError(f"cannot write pictures with the suffix {target.suffix!r}: use .png or .jpg")
    with atomic_path(target) as temporary, open(temporary, "wb") as file:
        _save(image, file, name, quality, str(target))


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) as displayed, from the header alone.

    Raises:
        UserError: not a picture.
    """
    name = str(path)
    with _guard(name), Image.open(path) as image:
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        return (image.width, image.height) if turned else (image.height, image.width)


def _open_upright(path: str | Path | BinaryIO) -> tuple[Image.Image, str, int, str]:
    """A picture, upright, with transparency as RGBA; and of its file the mode, bits per channel, and name."""
    name = str(path) if isinstance(path, (str, Path)) else getattr(path, "name", "the input")
    with _guard(str(name)), Image.open(path) as image:
        mode, bit_depth = image.mode, _bit_depth(image)
        image.load()
        upright = ImageOps.exif_transpose(image)
        transparent = mode in ("RGBA", "LA", "La", "PA", "RGBa") or "transparency" in image.info
        if transparent and not _is_deep(upright):
            upright = _to_rgba(upright)
        return (upright if upright is not image else image.copy()), mode, bit_depth, str(name)


def _bit_depth(image: ImageFile.ImageFile) -> int:
    """8 or 16 bits per channel of a file that is not loaded yet: where the mode is too coarse, its raw pixels tell."""
    return 16 if any(_SIXTEEN_BITS.search(str(tile[3])) for tile in image.tile) else 8


def _to_rgba(image: Image.Image) -> Image.Image:
    return image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")


def _is_deep(image: Image.Image) -> bool:
    return image.mode.startswith("I") or image.mode == "F"


def _deep_grey(image: Image.Image, name: str) -> np.ndarray:
    if image.mode == "F":
        raise UserError(f"{name} has floating-point pixels of unknown range: convert it to 8 or 16 bits first")
    values = np.array(image).astype(np.float32)
    if values.min() < 0 or values.max() > 65535:
        raise UserError(f"{name} has pixels outside 16 bits: convert it to 8 or 16 bits first")
    return values / np.float32(32767.5) - np.float32(1.0)


def _to_signal(pixels: Tensor) -> Tensor:
    return (pixels.float() / 127.5 - 1.0).contiguous()


def _to_image(signal: Tensor, alpha: Tensor | None, grey: bool) -> Image.Image:
    picture = signal.detach().float().cpu()
    assert picture.ndim == 3 and picture.shape[0] in (1, 3), f"signal is {tuple(signal.shape)}"
    if grey or picture.shape[0] == 1:
        image = Image.fromarray(_to_bytes(picture.mean(dim=0)))
    else:
        image = Image.fromarray(_to_bytes(picture.permute(1, 2, 0)))
    if alpha is not None:
        coverage = alpha.detach().float().cpu()[0] * 2.0 - 1.0
        image.putalpha(Image.fromarray(_to_bytes(coverage)))
    return image


def _to_bytes(values: Tensor) -> np.ndarray:
    scaled = (values.clamp(-1.0, 1.0) + 1.0) * 127.5
    return scaled.round().to(torch.uint8).contiguous().numpy()


def _save(image: Image.Image, file: BinaryIO, name: str, quality: int, shown: str) -> None:
    if name in ("JPEG", "BMP", "PPM", "JPEG2000") and image.mode in ("RGBA", "LA"):
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        flat = Image.alpha_composite(white, image.convert("RGBA"))
        image = flat.convert("RGB" if image.mode == "RGBA" else "L")
    options = {"quality": quality} if name in ("JPEG", "WEBP", "AVIF") else {}
    try:
        image.save(file, format=name, **options)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"cannot write {shown} as {name}: {' '.join(str(error).split())}") from None


@contextmanager
def _guard(name: str) -> Iterator[None]:
    """Turn whatever Pillow raises on a bad file (its decoders raise almost anything) into one UserError."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"no such file: {name}") from None
    except (PermissionError, IsADirectoryError) as error:
        raise UserError(f"cannot read {name}: {error.strerror}") from None
    except Image.UnidentifiedImageError:
        raise UserError(f"{name} is not a picture that Pillow reads (empty, or another kind of file)") from None
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{name} is a damaged picture: {reason}") from None
