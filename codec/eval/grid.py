"""Pictures beside what is left of them, one column for every part of the codes that a decoder can do with."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from codec.core.atomic import atomic_path
from codec.core.errors import UserError
from codec.data.image import read_image, write_image
from codec.data.manifest import Manifest
from codec.eval.selection import select
from codec.models.base import CodecModel

_SIDE = 384  # pixels; of a larger picture the middle is shown, pixel for pixel
_GAP = 6
_HEADER = 30
_FONT_SIZE = 17


def write_grid(path: str | Path, model: CodecModel, manifest: Manifest | str | Path, *, count: int = 4) -> None:
    """Draw the first `count` pictures of a manifest as a PNG: a row each, the original, then one prefix after another.

    A pyramid shows its coarsest level, then ever one more; a model of one level shows 1, 2, 4, ... codebooks.

    Raises:
        UserError: the model codes sound, or a picture cannot be read.
    """
    if model.media.kind != "image":
        raise UserError(f"{model.name} codes sound: there are no pictures to draw")
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
    codes = model.encode(signal[None])
    size = tuple(signal.shape[1:])
    return [("original", signal), *((title, model.decode(part, size=size)[0].cpu()) for title, part in prefixes(codes))]


def prefixes(codes: tuple[Tensor, ...]) -> Iterator[tuple[str, tuple[Tensor, ...]]]:
    """Ever more of `codes`, up to all of them, each with its title: whole levels, or codebooks where there is one."""
    *coarser, level = codes
    if coarser:
        for depth in range(1, len(codes)):
            yield f"{depth} of {len(codes)} levels", codes[:depth]
        yield "all levels", codes
        return
    most = level.shape[1]
    for number in sorted({min(2**power, most) for power in range(most.bit_length() + 1)}):
        yield f"{number} codebook{'s' * (number > 1)}", (level[:, :number],)


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
