"""Which files lie below a folder, and what the files are called that are made of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from codec.core.errors import UserError


def files_below(folder: Path, wanted: Callable[[Path], bool], *, outside: Path) -> list[Path]:
    """Paths, relative to `folder` and in order, of the files below it that are `wanted`; hidden ones are passed over.

    So are pipes and devices, but not links that lead nowhere.

    Args:
        outside: a folder that is not looked into; it may not be `folder` itself.

    Raises:
        UserError: no such folder, or nothing but `outside`.
    """
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder}")
    if outside.exists() and outside.samefile(folder):
        raise UserError(f"{folder} is input and output at once: give another folder for the output")
    found: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=_refuse):
        here = Path(place)
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and not (outside.exists() and outside.samefile(here / name))
        ]
        found += [(here / name).relative_to(folder) for name in files if not name.startswith(".")]
    return sorted(path for path in found if wanted(path) and not _is_special(folder / path))


def names_apart(suffixes: Mapping[Path, str]) -> dict[Path, Path]:
    """Paths with other suffixes, no two the same: those that would be keep their own suffixes before the new ones."""
    whole: set[Path] = set()
    while True:
        chosen = {
            path: path.with_name((path.name if path in whole else path.stem) + suffix)
            for path, suffix in suffixes.items()
        }
        count = Counter(chosen.values())
        clashing = {path for path, target in chosen.items() if count[target] > 1} - whole
        if not clashing:
            return chosen
        whole |= clashing


def _is_special(path: Path) -> bool:
    return os.path.exists(path) and not os.path.isfile(path)


def _refuse(error: OSError) -> None:
    raise UserError(f"cannot read {error.filename}: {error.strerror}") from None
