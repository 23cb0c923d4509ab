"""Finding a corpus on disk: the folder itself, or the folder it was unpacked into."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from codec.core.errors import UserError

from .screening import Skipped


def need_folder(source: Path) -> None:
    """UserError unless `source` is a folder."""
    if not source.is_dir():
        raise UserError(f"{source} is not a folder: give the folder of the corpus")


def find_root(source: Path, names: tuple[str, ...], *, landmarks: tuple[str, ...], layout: str) -> Path:
    """The folder that has one of `landmarks` (globs) in it: `source`, or one of `names` (relative paths) below it.

    Raises:
        UserError: none has; the message shows the `layout` that was looked for.
    """
    need_folder(source)
    for folder in (source, *(source / name for name in names)):
        if any(next(folder.glob(landmark), None) is not None for landmark in landmarks):
            return folder
    raise UserError(f"{source} does not look like {layout}; --download fetches a corpus that may be fetched freely")


def walk(folder: Path) -> Iterator[Path | Skipped]:
    """Every file below `folder`, depth first, names in order; linked folders are not entered, unreadable ones named."""
    unread: list[OSError] = []
    for parent, folders, files in os.walk(folder, onerror=unread.append):
        folders.sort()
        yield from (Path(parent) / name for name in sorted(files))
    yield from (Skipped(Path(error.filename), f"the folder cannot be read: {error.strerror}") for error in unread)
