"""Any tree of recordings or pictures: split into train and validation by a hash of each file's place in the tree.

Layout: any; files are known by their suffixes, at any depth; other files are passed over in silence.
Licence, source: yours. Splits: about `fraction` of the files are "validation", the same ones at every run, and
adding files never moves the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from codec.core.errors import UserError
from codec.data.manifest import Kind, kind_of

from .layout import need_folder, walk
from .report import PrepReport, Progress, write_corpus
from .screening import Candidate, Limits, Skipped
from .split import check_fraction, split_by_hash


def prepare(
    source: Path,
    out: Path,
    *,
    download: bool = False,
    workers: int = 4,
    progress: Progress | None = None,
    fraction: float = 0.1,
    kind: Kind | None = None,
    limits: Limits | None = None,
) -> PrepReport:
    """Write the manifest of the tree `source`.

    Args:
        fraction: share of the files for validation.
        kind: take only "audio" or only "image"; None takes both.

    Raises:
        UserError: no such folder, or no sound files in it.
    """
    if download:
        raise UserError("folder prepares files you have: there is nothing to download")
    check_fraction(fraction)
    need_folder(source)
    return write_corpus(_candidates(source, kind, fraction), out, limits=limits, workers=workers, progress=progress)


def _candidates(source: Path, kind: Kind | None, fraction: float) -> Iterator[Candidate | Skipped]:
    for path in walk(source):
        if isinstance(path, Skipped):
            yield path
            continue
        found = kind_of(path)
        if found is None or kind not in (None, found):
            continue
        place = path.relative_to(source).as_posix()
        yield Candidate(path, found, {"set": source.resolve().name, "split": split_by_hash(place, fraction)})
