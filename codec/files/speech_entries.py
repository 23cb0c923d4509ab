"""Which recordings units are made of or measured on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from codec.core.errors import UserError
from codec.data.manifest import Entry, kind_of, read_manifest
from codec.files.tree import files_below


def speech_entries(source: Path, *, splits: Sequence[str] = ()) -> list[Entry]:
    """The recordings of a manifest, all below a folder, or a single one.

    Args:
        splits: of a manifest; all if there are none.

    Raises:
        UserError: there is nothing, or no such split.
    """
    is_recording = kind_of(source) == "audio" and not source.is_dir()
    if splits and (is_recording or source.is_dir()):
        what = "recording" if is_recording else "folder"
        raise UserError(f"{source} is a {what}, which has no split {splits[0]!r}: give a manifest, or leave it out")
    if is_recording:
        entries = [Entry(path=source, kind="audio")]
    elif source.is_dir():
        names = files_below(source, lambda path: kind_of(path) == "audio", outside=source / ".none")
        entries = [Entry(path=source / name, kind="audio") for name in names]
    else:
        entries = [entry for entry in read_manifest(source, split=splits or None) if entry.kind == "audio"]
    if not entries:
        raise UserError(f"{source} holds no recordings")
    return entries


def with_phone_times(entries: Sequence[Entry], stems: Collection[str]) -> list[Entry]:
    """Those of `entries` whose files are named as one of `stems`, without folder and suffix.

    Raises:
        UserError: there is none, or two files have one name.
    """
    kept = [entry for entry in entries if entry.path.stem in stems]
    if not kept:
        raise UserError(
            f"no recording has phone times, {entries[0].path.name} for one has none: look at the names of the files"
        )
    _refuse_namesakes(kept)
    return kept


def spread(entries: Sequence[Entry], limit: int | None) -> list[Entry]:
    """At most `limit` of `entries`, spread evenly; all if it is None."""
    count = min(limit or len(entries), len(entries))
    return [entries[index * len(entries) // count] for index in range(count)]


def _refuse_namesakes(entries: Sequence[Entry]) -> None:
    """Raises UserError if one stem means two files."""
    paths: dict[str, Path] = {}
    for entry in entries:
        other = paths.setdefault(entry.path.stem, entry.path)
        if other != entry.path:
            raise UserError(
                f"{other} and {entry.path} have one name, and phone times are found by it: rename one, or leave it out"
            )
