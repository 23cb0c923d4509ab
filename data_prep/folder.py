"""Any tree of recordings or pictures: split into train and validation by a hash of each file's place in the tree.

Layout: any; files are known by their suffixes, at any depth; other files are passed over in silence. If asked, the
first folder on the way to a recording names its speaker, and a text beside it, of the same name, is its transcript.
Licence, source: yours. Splits: about `fraction` of the files are "validation", the same ones at every run, and
adding files never moves the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    speakers: bool = False,
    transcripts: bool = False,
    limits: Limits | None = None,
) -> PrepReport:
    """Write the manifest of the tree `source`.

    Args:
        fraction: share of the files for validation.
        kind: take only "audio" or only "image"; None takes both.
        speakers: who speaks in a recording is the first folder below `source` that it lies in, if it lies in one.
        transcripts: what is said in a recording is in a `.txt` or `.lab` file of its name beside it, if there is one.

    Raises:
        UserError: no such folder, or no sound files in it; or no recording has the speaker or transcript asked for.
    """
    if download:
        raise UserError("folder prepares files you have: there is nothing to download")
    check_fraction(fraction)
    need_folder(source)
    asked = [key for key, wanted in (("speaker", speakers), ("transcript", transcripts)) if wanted]
    candidates = _candidates(source, kind, fraction, asked)
    return write_corpus(candidates, out, limits=limits, workers=workers, progress=progress)


def _candidates(
    source: Path, kind: Kind | None, fraction: float, asked: Sequence[str]
) -> Iterator[Candidate | Skipped]:
    missing = set(asked)
    for path in walk(source):
        if isinstance(path, Skipped):
            yield path
            continue
        found = kind_of(path)
        if found is None or kind not in (None, found):
            continue
        place = path.relative_to(source)
        fields = {"set": source.resolve().name, "split": split_by_hash(place.as_posix(), fraction)}
        try:
            told = {key: TELL[key](path, place) for key in asked} if found == "audio" else {}
        except OSError as error:
            yield Skipped(path, f"{error.filename} cannot be read: {error.strerror}")
            continue
        fields |= {key: value for key, value in told.items() if value}
        missing -= fields.keys()
        yield Candidate(path, found, fields)
    for key in sorted(missing):
        raise UserError(f"no recording in {source} has a {key}: {HOW[key]}, or leave --{key}s out")


def _speaker(path: Path, place: Path) -> str:
    return place.parts[0] if len(place.parts) > 1 else ""


def _transcript(path: Path, place: Path) -> str:
    beside = [path.with_suffix(suffix) for suffix in (".txt", ".lab")]
    texts = [text.read_text(encoding="utf-8", errors="replace") for text in beside if text.is_file()]
    return " ".join(texts[0].split()) if texts else ""


TELL = {"speaker": _speaker, "transcript": _transcript}
HOW = {
    "speaker": "put those of each into a folder of their own",
    "transcript": "put a .txt or .lab file of the same name beside it",
}
