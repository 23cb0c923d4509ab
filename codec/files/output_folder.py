"""A folder that many files are made in: by one run at a time, always with the same options, and each file whole."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codec.core.atomic import atomic_write_text
from codec.files.errors import OutputError

FAILURES = "failures.jsonl"
NAMES = "names.json"
_UNFINISHED = ".unfinished"


@contextmanager
def open_folder(folder: Path, record: str, options: Mapping[str, Any], targets: Iterable[Path]) -> Iterator[Path]:
    """Take `folder` for a run with `options`; yields a folder in it for files that are not finished.

    What a killed run left there is removed. The options stand in the file `record` from the first run on.

    Args:
        options: plain values that decide what is made; JSON.
        targets: what will be made.

    Raises:
        OutputError: another run is at it, or one with other options has begun it, or a target is nobody's.
    """
    _check_options(folder, record, options)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror}") from None
    with _locked(folder):
        _check_options(folder, record, options)
        if not (folder / record).exists():
            for target in targets:
                if target.exists():
                    raise OutputError(f"{target} is there already, and no run like this made it: choose another folder")
            atomic_write_text(folder / record, json.dumps(options, indent=2) + "\n")
        unfinished = folder / _UNFINISHED
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        try:
            yield unfinished
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def finish(unfinished: Path, target: Path) -> None:
    """Give a finished file its name.

    Raises:
        OutputError: it cannot have it.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(unfinished, target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror}") from None


@dataclass(frozen=True)
class Leftovers:
    """What earlier runs made and this one does not.

    Attributes:
        num_removed: files that were removed, as their sources' files have other names now, or others have theirs.
        orphans: files that stay although their sources are gone, by path from the folder.
    """

    num_removed: int
    orphans: tuple[str, ...]


def clear_renamed(folder: Path, names: Mapping[str, str]) -> Leftovers:
    """Remove what earlier runs made in `folder` under names that by now are not their sources'.

    The file `names.json` there holds what was made of what.

    Args:
        names: paths of the files of this run, from `folder`, by those of their sources.

    Raises:
        OutputError: `names.json` is damaged.
    """
    before = _read(folder / NAMES) or {}
    stale = {source: made for source, made in before.items() if names.get(source) != made and (folder / made).is_file()}
    taken = set(names.values())
    orphans = {source: made for source, made in stale.items() if source not in names and made not in taken}
    renamed = stale.keys() - orphans.keys()
    for source in renamed:
        (folder / stale[source]).unlink()
    atomic_write_text(folder / NAMES, json.dumps({**orphans, **names}, indent=2) + "\n")
    return Leftovers(len(renamed), tuple(sorted(orphans.values())))


def write_failures(folder: Path, failures: Mapping[str, str]) -> Path:
    """List `failures` (reasons by path) in a file of `folder`, in order; without any, there is no such file."""
    path = folder / FAILURES
    if failures:
        lines = [json.dumps({"path": name, "reason": failures[name]}) for name in sorted(failures)]
        atomic_write_text(path, "\n".join(lines) + "\n")
    else:
        path.unlink(missing_ok=True)
    return path


def _check_options(folder: Path, record: str, options: Mapping[str, Any]) -> None:
    begun = _read(folder / record)
    if begun is None:
        return
    for key in {**options, **begun}:
        if begun.get(key) != options.get(key):
            raise OutputError(
                f"{folder} was begun with {key} {begun.get(key)!r}, not {options.get(key)!r}: "
                "choose another folder, or delete it"
            )


def _read(path: Path) -> dict[str, Any] | None:
    """What a file of JSON says; None if it is not there."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"cannot write to {path.parent}: {error.strerror}") from None
    except ValueError:
        tree = None
    if not isinstance(tree, dict):
        raise OutputError(f"{path} is not of this toolkit: choose another folder")
    return tree


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; it is free as soon as the process ends. Some network drives have no locks."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OutputError(f"another run is writing to {folder}: wait until it is done") from None
        yield
    finally:
        os.close(handle)
