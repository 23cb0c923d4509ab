"""The .item files of the ZeroSpeech challenges: which stretches of which recordings are compared."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from codec.core.errors import UserError
from codec.data.manifest import AUDIO_SUFFIXES

_HEADER = ["#file", "onset", "offset", "#phone", "prev-phone", "next-phone", "speaker"]


@dataclass(frozen=True)
class AbxItem:
    """A phone in its context, as one speaker said it once.

    Attributes:
        stem: the recording: its file name without folder and suffix.
        start_s, end_s: the stretch that is compared, commonly of the whole triphone.
        phone, previous, following: the centre, and the phones at its sides.
    """

    stem: str
    start_s: float
    end_s: float
    phone: str
    previous: str
    following: str
    speaker: str


def read_items(path: str | Path) -> list[AbxItem]:
    """The items of a ZeroSpeech .item file in its order, phones, context and speakers as they are written there.

    Raises:
        UserError: no such file, no items, or a line that is not of the format, with its number.
    """
    source = Path(path)
    lines = numbered_lines(source, what="an .item file")
    _, header = next(lines, (1, ""))
    if header.split() != _HEADER:
        raise UserError(f"{source} is not an .item file: its first line has to be: {' '.join(_HEADER)}")
    items = [_parse(f"{source}, line {number}", line.split()) for number, line in lines]
    if not items:
        raise UserError(f"{source} has no items below its header")
    return items


def numbered_lines(path: Path, *, what: str) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers from 1.

    Raises:
        UserError: `path` cannot be read, or is no text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not {what}: it is not text in UTF-8") from None
    return ((number, line) for number, line in enumerate(lines, start=1) if line.strip())


def stretch(start: object, end: object, *, where: str) -> tuple[float, float]:
    """Start and end in seconds.

    Raises:
        UserError: they are not two times, the first before the second; the message begins with `where`.
    """
    try:
        start_s, end_s = float(str(start)), float(str(end))
    except ValueError:
        start_s = end_s = math.nan
    if not 0 <= start_s < end_s < math.inf:
        raise UserError(
            f"{where}: from {start} to {end} is no stretch of time; wanted two times in seconds, the later last"
        )
    return start_s, end_s


def _parse(where: str, words: list[str]) -> AbxItem:
    if len(words) != len(_HEADER):
        raise UserError(f"{where}: {len(words)} columns; an item has {len(_HEADER)}: {' '.join(_HEADER)}")
    name, onset, offset, phone, previous, following, speaker = words
    file = PurePosixPath(name)
    stem = file.stem if file.suffix.lower() in AUDIO_SUFFIXES else file.name
    start_s, end_s = stretch(onset, offset, where=where)
    return AbxItem(stem, start_s, end_s, phone, previous, following, speaker)
