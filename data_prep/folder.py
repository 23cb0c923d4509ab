"""Any tree of recordings or pictures: split into train and validation by a hash of each file's place in the tree.

Layout: any; files are known by their suffixes, at any depth; other files are passed over in silence. If asked, the
first folder on the way to a recording names its speaker, and a text beside it, of the same name, is its transcript.
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

TEXT_SUFFIXES = (".txt", ".TXT", ".lab", ".LAB")


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
        UserError: no such folder, or no sound files in it; or there are recordings, and none tells what is asked for.
    """
    if download:
        raise UserError("folder prepares files you have: there is nothing to download")
    check_fraction(fraction)
    need_folder(source)
    _check_told(source, speakers=speakers, transcripts=transcripts)
    candidates = _candidates(source, kind, fraction, speakers=speakers, transcripts=transcripts)
    return write_corpus(candidates, out, limits=limits, workers=workers, progress=progress)


def _check_told(source: Path, *, speakers: bool, transcripts: bool) -> None:
    """Raises UserError if there are recordings, and none tells what is asked for."""

    def recordings() -> Iterator[Path]:
        return (path for path in walk(source) if not isinstance(path, Skipped) and kind_of(path) == "audio")

    if not any(recordings()):
        return
    if speakers and all(path.parent == source for path in recordings()):
        raise UserError(
            f"no recording in {source} tells its speaker: put those of each into a folder, or leave --speakers out"
        )
    if transcripts and not any(_texts(path) for path in recordings()):
        raise UserError(
            f"no recording in {source} has a transcript: put a .txt or .lab file of its name beside it, or leave "
            "--transcripts out"
        )


def _candidates(
    source: Path, kind: Kind | None, fraction: float, *, speakers: bool, transcripts: bool
) -> Iterator[Candidate | Skipped]:
    for path in walk(source):
        if isinstance(path, Skipped):
            yield path
            continue
        found = kind_of(path)
        if found is None or kind not in (None, found):
            continue
        place = path.relative_to(source)
        fields = {"set": source.resolve().name, "split": split_by_hash(place.as_posix(), fraction)}
        if speakers and found == "audio" and len(place.parts) > 1:
            fields["speaker"] = place.parts[0]
        try:
            if transcripts and found == "audio" and (said := _transcript(path)):
                fields["transcript"] = said
        except UserError as error:
            yield Skipped(path, str(error))
            continue
        yield Candidate(path, found, fields)


def _texts(path: Path) -> list[Path]:
    """The texts beside a recording that may say what is said in it, the likelier first."""
    return [text for suffix in TEXT_SUFFIXES if (text := path.with_suffix(suffix)).is_file()]


def _transcript(path: Path) -> str:
    """The words of the first text beside `path` that says anything, single spaces between them; else nothing."""
    for text in _texts(path):
        try:
            said = text.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise UserError(f"its transcript {text.name} is not UTF-8: save it as such") from None
        except OSError as error:
            raise UserError(f"its transcript {text.name} cannot be read: {error.strerror}") from None
        if said := " ".join(said.split()):
            return said
    return ""
