"""The one contract between corpora and training: a JSONL manifest, one line per recording or picture."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from codec.core.atomic import atomic_path
from codec.core.errors import UserError

Kind = Literal["audio", "image"]

AUDIO_SUFFIXES = frozenset(
    (
        ".wav",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".aiff",
        ".aif",
        ".au",
        ".caf",
        ".w64",
        ".rf64",
        ".sph",
    )
)
IMAGE_SUFFIXES = frozenset(
    (
        ".png",
        ".jpg",
        ".jpeg",
        ".webp",
        ".bmp",
        ".tif",
        ".tiff",
        ".gif",
        ".ppm",
        ".pgm",
        ".jp2",
        ".avif",
        ".tga",
    )
)


def kind_of(path: str | Path) -> Kind | None:
    """What a file name promises, from its suffix: "audio", "image", or None when the suffix says neither."""
    suffix = Path(path).suffix.lower()
    if suffix in AUDIO_SUFFIXES:
        return "audio"
    return "image" if suffix in IMAGE_SUFFIXES else None


class Entry(BaseModel):
    """One recording or picture. Keys not named here are kept as they are (corpora know more than we do).

    `path` is relative to the manifest's folder in the file, and joined to that folder once it is read.
    `num_samples` counts per channel at `sample_rate` (Hz); `width` and `height` are pixels as displayed.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    path: Path
    kind: Kind
    set: str = ""
    split: str = "train"
    speaker: str | None = None
    duration_s: float | None = None
    sample_rate: int | None = None
    channels: int | None = None
    num_samples: int | None = None
    width: int | None = None
    height: int | None = None
    transcript: str | None = None
    licence: str | None = None
    source: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _infer_kind(cls, tree: Any) -> Any:
        if isinstance(tree, dict) and "kind" not in tree and "path" in tree:
            kind = kind_of(tree["path"])
            if kind is None:
                raise ValueError(f"cannot tell audio from image by the suffix of {str(tree['path'])!r}: add a kind")
            return {**tree, "kind": kind}
        return tree


@dataclass(frozen=True)
class Manifest:
    """Entries in file order; `path` is the manifest they came from."""

    path: Path
    entries: tuple[Entry, ...]

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def splits(self) -> dict[str, int]:
        """Number of entries per split, in order of first appearance."""
        return dict(Counter(entry.split for entry in self.entries))


def read_manifest(path: str | Path, *, split: str | Iterable[str] | None = None) -> Manifest:
    """Read a manifest; paths come back joined to its folder. The files themselves are not touched.

    Args:
        split: keep only this split, or these; None keeps everything.

    Raises:
        UserError: no such manifest, a line that is not an entry (with its number), or no entry of `split`.
    """
    source = Path(path)
    try:
        lines = source.read_text(encoding="utf-8").split("\n")  # not splitlines: a transcript may hold U+2028
    except OSError as error:
        raise UserError(f"cannot read manifest {source}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{source} is not a manifest: expected JSON lines in UTF-8") from None
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    entries = tuple(_parse_line(source, number, line) for number, line in numbered)
    if not entries:
        raise UserError(f"manifest {source} has no entries")
    if split is None:
        return Manifest(source, entries)
    wanted = {split} if isinstance(split, str) else set(split)
    kept = tuple(entry for entry in entries if entry.split in wanted)
    if not kept:
        present = ", ".join(Manifest(source, entries).splits())
        raise UserError(f"manifest {source} has no split {' or '.join(sorted(wanted))}; it has: {present}")
    return Manifest(source, kept)


def write_manifest(path: str | Path, entries: Iterable[Entry]) -> int:
    """Write `entries` as they come, whole or not at all, and return their number.

    Paths below the manifest's folder are written relative to it, so the folder can be moved; others absolute.
    """
    target = Path(path)
    folder = Path(os.path.abspath(target)).parent
    written = 0
    with atomic_path(target) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for entry in entries:
            tree = entry.model_dump(mode="json", exclude_none=True)
            tree["path"] = _portable_path(entry.path, folder)
            file.write(json.dumps(tree, ensure_ascii=False) + "\n")
            written += 1
    return written


def _portable_path(path: Path, folder: Path) -> str:
    absolute = Path(os.path.abspath(path))
    return absolute.relative_to(folder).as_posix() if absolute.is_relative_to(folder) else absolute.as_posix()


def _parse_line(source: Path, number: int, line: str) -> Entry:
    try:
        tree = json.loads(line)
    except ValueError:
        raise UserError(f"manifest {source}, line {number} is not JSON") from None
    try:
        entry = Entry.model_validate(tree)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        raise UserError(f"manifest {source}, line {number}: {f'{key}: ' if key else ''}{message}") from None
    return entry.model_copy(update={"path": source.parent / entry.path})
