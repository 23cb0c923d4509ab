"""The tier of phones in a Praat TextGrid, whether the file is of the long or of the short text format.

Praat reads both the same way: of the words between white space only numbers, quoted texts and flags such as <exists>
count, the others are there for people, as is what follows an exclamation mark.
Source: the manual of Praat, "TextGrid file formats".
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path

from codec.core.errors import UserError

_TIERS = ("phones", "phone")
_TOKEN = re.compile(r'"(?P<text>(?:[^"]|"")*)"|!(?P<remark>[^\n]*)|(?P<word>[^\s"]+)')
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")
_FLAG = re.compile(r"<\w+>")


@dataclass(frozen=True)
class Interval:
    """A labelled stretch of time, and the line of the file where it ends."""

    start_s: float
    end_s: float
    label: str
    line: int


def read_phone_tier(path: Path) -> list[Interval]:
    """The intervals of the tier named "phones" or "phone", in whatever case.

    Raises:
        UserError: the file cannot be read, breaks off, or has no such tier of intervals.
    """
    reader = _Reader(path)
    if (reader.text(), reader.text()) != ("ooTextFile", "TextGrid"):
        raise UserError(
            f'{path} is not a TextGrid: it has to begin with "ooTextFile" "TextGrid", as Praat\'s text files do'
        )
    reader.stretch()
    names: list[str] = []
    for _ in range(reader.count() if reader.flag() == "<exists>" else 0):
        kind, name = reader.text(), reader.text()
        reader.stretch()
        intervals = _entries(reader, has_length=kind == "IntervalTier")
        if kind == "IntervalTier" and name.strip().lower() in _TIERS:
            return intervals
        names.append(name)
    found = ", ".join(names) or "none"
    raise UserError(f'{path} has no tier of intervals named "phones" or "phone"; its tiers: {found}')


def _entries(reader: _Reader, *, has_length: bool) -> list[Interval]:
    entries = []
    for _ in range(reader.count()):
        start_s, end_s = reader.stretch() if has_length else (reader.number(),) * 2
        entries.append(Interval(start_s, end_s, reader.text(), reader.line))
    return entries


class _Reader:
    """Takes the values of a file one after another; `line` is where the last one ended."""

    def __init__(self, path: Path):
        self._path = path
        self._content = _decode(path)
        self._place = 0
        self.line = 1

    def text(self) -> str:
        """The next value, which is a quoted text."""
        value = self._next()
        if value[0] != '"':
            self._fail(f"{value} where a text in quotes belongs")
        return value[1:-1].replace('""', '"')

    def number(self) -> float:
        """The next value, which is a number."""
        value = self._next()
        if not _NUMBER.fullmatch(value):
            self._fail(f"{value} where a number belongs")
        return float(value)

    def stretch(self) -> tuple[float, float]:
        """The next two values, which are a start and an end in seconds."""
        return self.number(), self.number()

    def count(self) -> int:
        """The next value, which is a number of things."""
        value = self.number()
        if value < 0 or not value.is_integer():
            self._fail(f"{value} where a number of entries belongs")
        return int(value)

    def flag(self) -> str:
        """The next value, which is a flag."""
        value = self._next()
        if not _FLAG.fullmatch(value):
            self._fail(f"{value} where a flag such as <exists> belongs")
        return value

    def _next(self) -> str:
        while match := _TOKEN.search(self._content, self._place):
            self.line += self._content.count("\n", self._place, match.end())
            self._place = match.end()
            value = match[0]
            if match["text"] is not None or _NUMBER.fullmatch(value) or _FLAG.fullmatch(value):
                return value
        self._fail("the file breaks off")
        raise AssertionError("it failed")

    def _fail(self, problem: str) -> None:
        raise UserError(f"{self._path}, line {self.line}: {problem}; write the TextGrid out of Praat anew")


def _decode(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not a TextGrid in UTF-8 or UTF-16; save it from Praat as one of these") from None
