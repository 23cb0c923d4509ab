"""Pictures beside what is left of them, one column for every part of the codes that a decoder can do with."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from codec.core.atomic import atomic_path
from codec.core.errors import UserError
from codec.core.wording import counted
from codec.data.image import read_image, write_image
from codec.data.manifest import Manifest
from codec.eval.selection import select
from codec.models.base import CodecModel

_SIDE = 384  # pixels; of a larger picture the middle is shown, pixel for pixel
_GAP = 6
_HEADER = 30
_FONT_SIZE = 17


def write_grid(path: str | Path, model: CodecModel, manifest: Manifest | str | Path, *, count: int = 4) -> None:
    """Draw the first `count` pictures of a manifest as a PNG: a row each, the original, then ever more of its codes.

    A pyramid shows its coarsest level, then ever one more; a model of one level shows 1, 2, 4, ... codebooks, or
    what it works with that is nearest to ever twice as many.

    Raises:
        UserError: the model codes sound, `path` is no .png, or a picture cannot be read.
    """
    if model.media.kind != "image":
        raise UserError(f"{model.name} codes sound: there are no pictures to draw")
    if Path(path).suffix.lower() != ".png":
        raise UserError(f"cannot draw pictures into {path}: name a .png")
    rows = [_row(model, entry.path) for entry in select(manifest, model).entries[:count]]
    height, width = (min(_SIDE, max(column.shape[axis] for row in rows for _, column in row)) for axis in (1, 2))
    size = len(rows[0]) * (width + _GAP) + _GAP, _HEADER + len(rows) * (height + _GAP)
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_SIZE)
    for column, (title, _) in enumerate(rows[0]):
        left = _GAP + column * (width + _GAP)
        draw.text((left + width / 2, _HEADER / 2), title, fill="black", font=font, anchor="mm")
        for line, row in enumerate(rows):
            sheet.paste(_cell(row[column][1], height, width), (left, _HEADER + line * (height + _GAP)))
    with atomic_path(path) as temporary:
        sheet.save(temporary, "PNG")


def _row(model: CodecModel, path: Path) -> list[tuple[str, Tensor]]:
    """The original and its reconstructions `[channels, height, width]`, each with its title."""
    signal = read_image(path).flattened()
    if model.media.channels == 1:
        signal = signal.mean(0, keepdim=True)
    size = tuple(signal.shape[1:])
    parts = _parts(model, signal[None])
    return [("original", signal), *((title, model.decode(part, size=size)[0].cpu()) for title, part in parts)]


def _parts(model: CodecModel, signal: Tensor) -> Iterator[tuple[str, tuple[Tensor, ...]]]:
    """Ever more codes of `signal`, up to all, each with its title: whole levels, or codebooks of the only one."""
    if len(model.levels) > 1:
        codes = model.encode(signal)
        for depth in range(1, len(codes)):
            yield f"{depth} of {len(codes)} levels", codes[:depth]
        yield "all levels", codes
        return
    for number in doubling(model.rates):
        yield counted(number, "codebook"), model.encode(signal, num_active=number)


def doubling(rates: Sequence[int]) -> list[int]:
    """The first of ascending `rates`, each next one that is at least twice the last taken, and the last."""
    taken = [rates[0]]
    for rate in rates:
        if rate >= 2 * taken[-1]:
            taken.append(rate)
    return taken if taken[-1] == rates[-1] else [*taken, rates[-1]]


def _cell(signal: Tensor, height: int, width: int) -> Image.Image:
    """The middle of `signal`, where it is smaller on white, as `height` x `width` pixels."""
    for axis, extent in ((1, height), (2, width)):
        spare = signal.shape[axis] - extent
        signal = signal.narrow(axis, spare // 2, extent) if spare > 0 else signal
    buffer = io.BytesIO()
    write_image(buffer, signal)
    cell = Image.new("RGB", (width, height), "white")
    picture = Image.open(buffer)
    cell.paste(picture, ((width - picture.width) // 2, (height - picture.height) // 2))
    return cell
