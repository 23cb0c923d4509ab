"""The phones of every recording of a manifest and their times, as lines of JSON, in several processes, resumable."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from codec.core.atomic import atomic_path, atomic_write_text
from codec.core.errors import UserError
from codec.core.wording import counted
from codec.data.audio import read_audio
from codec.data.manifest import Entry, read_manifest
from codec.files.workers import Failed, num_cores, run_tasks

from .align_words import Aligner, Span
from .report import Progress, Skipped, skipped_path

AlignerName = Literal["pocketsphinx", "torch"]


@dataclass(frozen=True)
class Recording:
    """One to align: where it lies, and its path as the output names it."""

    place: Path
    path: str
    speaker: str | None
    transcript: str | None


@dataclass(frozen=True)
class AlignmentReport:
    """`done` recordings in this run and `kept` from those before; `skipped` also stand in `skipped_list`."""

    out: Path
    done: int
    kept: int
    skipped: list[Skipped]

    @property
    def skipped_list(self) -> Path:
        return skipped_path(self.out)


def open_aligner(
    aligner: AlignerName,
    *,
    acoustic_model: str | None = None,
    labels: str | None = None,
    dictionary: str | None = None,
    sample_rate: int = 16000,
) -> Aligner:
    """The aligner of that name; the other arguments are files and the rate of `torch`, as for `load_aligner`.

    Raises:
        UserError: a package or a file is missing, or the arguments do not go together.
    """
    if aligner == "pocketsphinx":
        if acoustic_model or labels or dictionary:
            raise UserError("PocketSphinx brings a model, labels and a dictionary: choose --aligner torch for yours")
        from .align_pocketsphinx import PocketSphinxAligner

        return PocketSphinxAligner()
    if not (acoustic_model and labels):
        raise UserError("--aligner torch needs --acoustic-model and --labels")
    from .align_torch import load_aligner

    return load_aligner(
        Path(acoustic_model),
        Path(labels),
        dictionary=Path(dictionary) if dictionary else None,
        sample_rate=sample_rate,
    )


def align_recording(aligner: Aligner, recording: Recording) -> str:
    """The times of one recording's words and phones, as a line of JSON.

    Raises:
        UserError: it cannot be read or aligned.
    """
    if recording.transcript is None:
        raise UserError("the manifest has no transcript of it")
    signal, rate = read_audio(recording.place, sample_rate=aligner.sample_rate, channels=1)
    found = aligner.align(signal[0], recording.transcript)
    line = {
        "path": recording.path,
        "speaker": recording.speaker,
        "duration": round(signal.shape[1] / rate, 6),
        "words": _rows(found.words),
        "phones": _rows(found.phones),
    }
    return json.dumps(line, ensure_ascii=False)


def align_corpus(
    manifest: Path,
    out: Path,
    start: Callable[[], Callable[[Recording], str]],
    *,
    made_by: Mapping[str, object],
    split: str | None = None,
    limit: int | None = None,
    workers: int | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> AlignmentReport:
    """Write the times of the recordings of a manifest to `out`, in the manifest's order, whole or not at all.

    Those that cannot be aligned are listed in `out`'s .skipped.jsonl, with the reason. Lines that are done wait beside
    `out` in .unfinished.jsonl, so that a run that was stopped can be resumed. `out`'s .made_by.json holds `made_by`.

    Args:
        start: called once in each process; what it returns aligns a recording, as `align_recording` does.
        made_by: what decides what is found; only a run with the same may resume.
        split, limit: of the manifest, this split and the first so many recordings; all if None.
        workers: processes of one thread; as many as there are cores if None.
        resume: keep the recordings that `out` and the unfinished run have; those that were skipped are tried again.
        progress: called with (recordings done, recordings in all).

    Raises:
        UserError: an `out` that is no file of its own, nothing to align, nothing that could be, or an unfinished run
            that is not resumed or not like this.
    """
    if out.suffix != ".jsonl" or out.resolve() == manifest.resolve():
        raise UserError(f"cannot write phone times to {out}: give a file of its own that ends in .jsonl")
    everything = [_of_entry(entry, manifest.parent) for entry in read_manifest(manifest) if entry.kind == "audio"]
    wanted = [entry for entry in read_manifest(manifest, split=split) if entry.kind == "audio"][:limit]
    if not wanted:
        raise UserError(f"{manifest} holds no recordings: nothing to align")
    skipped: list[Skipped] = []
    with _Unfinished(out, made_by, resume=resume) as lines:
        todo = [each for entry in wanted if (each := _of_entry(entry, manifest.parent)).path not in lines]
        try:
            with closing(run_tasks(start, todo, jobs=workers or num_cores())) as answers:
                for done, (number, answer) in enumerate(answers, len(wanted) - len(todo) + 1):
                    if isinstance(answer, Failed):
                        place = todo[number].place
                        skipped.append(Skipped(place, answer.reason.replace(str(place), "the file")))
                    else:
                        lines.add(todo[number].path, answer)
                    if progress is not None:
                        progress(done, len(wanted))
        finally:
            _list_skipped(skipped_path(out), skipped)
        if len(skipped) == len(wanted):
            raise UserError(f"nothing is left, {counted(len(skipped), 'recording')} skipped: see {skipped_path(out)}")
        lines.finish([recording.path for recording in everything])
    return AlignmentReport(out, len(todo) - len(skipped), len(wanted) - len(todo), sorted(skipped))


class _Unfinished:
    """Lines of `out` that are done, on the disk as they come; gone once `out` is there, or if there are none."""

    def __init__(self, out: Path, made_by: Mapping[str, object], *, resume: bool) -> None:
        self._out = out
        self._path, self._record = out.with_suffix(".unfinished.jsonl"), out.with_suffix(".made_by.json")
        self._made_by, self._resume = dict(made_by), resume
        self._where: dict[str, int] = {}

    def __enter__(self) -> _Unfinished:
        if self._path.exists() and not self._resume:
            raise UserError(f"{self._path} is of a run that was stopped: --resume takes it up, or delete it")
        before = next((path for path in (self._path, self._out) if self._resume and path.exists()), None)
        if before:
            self._check_record(before)
        with atomic_path(self._path) as temporary, open(temporary, "wb") as file:
            for line in _whole_lines(before) if before else ():
                self._where[json.loads(line)["path"]] = file.tell()
                file.write(line)
        self._file: BinaryIO = open(self._path, "r+b")  # closed by __exit__
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if not self._where:
            self._path.unlink()

    def __contains__(self, path: str) -> bool:
        return path in self._where

    def add(self, path: str, line: str) -> None:
        """Keep the line of the recording `path`."""
        if not self._where:
            atomic_write_text(self._record, json.dumps(self._made_by, indent=2) + "\n")
        self._where[path] = self._file.seek(0, 2)
        self._file.write(line.encode() + b"\n")
        self._file.flush()

    def finish(self, order: Iterable[str]) -> None:
        """Write `out`: of the recordings in `order`, those that are done."""
        with atomic_path(self._out) as temporary, open(temporary, "wb") as file:
            for path in dict.fromkeys(order):
                if path in self._where:
                    self._file.seek(self._where[path])
                    file.write(self._file.readline())
        self._where.clear()

    def _check_record(self, begun_file: Path) -> None:
        elsewhere = "choose another file, or delete it"
        try:
            before = json.loads(self._record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise UserError(f"{begun_file} was not made by `codec align`: {elsewhere}") from None
        if before != self._made_by:
            begun, now = json.dumps(before), json.dumps(self._made_by)
            raise UserError(f"{begun_file} was begun with {begun}, not {now}: {elsewhere}")


def _whole_lines(path: Path) -> Iterator[bytes]:
    """All of a file's lines but one that was cut off."""
    with open(path, "rb") as file:
        yield from (line for line in file if line.endswith(b"\n"))


def _of_entry(entry: Entry, folder: Path) -> Recording:
    path = entry.path.relative_to(folder) if entry.path.is_relative_to(folder) else entry.path
    return Recording(entry.path, path.as_posix(), entry.speaker, entry.transcript)


def _list_skipped(path: Path, skipped: Iterable[Skipped]) -> None:
    """Write the list of those that were left out; without any, there is no such file."""
    path.unlink(missing_ok=True)
    lines = [
        json.dumps({"path": str(place), "reason": reason}, ensure_ascii=False) for place, reason in sorted(skipped)
    ]
    if lines:
        atomic_write_text(path, "\n".join(lines) + "\n")


def _rows(spans: Sequence[Span]) -> list[list[str | float]]:
    return [[span.name, round(span.start_s, 6), round(span.end_s, 6)] for span in spans]
