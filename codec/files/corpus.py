"""Folders of recordings or pictures to folders of .vqc files and back, in several processes, resumable."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import PositiveFloat, PositiveInt

from codec.checkpoint import load_model
from codec.checkpoint.zoo import find_model, read_card
from codec.core.config import Config
from codec.core.device import resolve_device
from codec.core.errors import UserError
from codec.data.manifest import kind_of
from codec.files.compress import check_rate, encode_file
from codec.files.container import read_header
from codec.files.decompress import decode_file, model_of
from codec.files.header import AudioHeader, Header
from codec.files.output_folder import clear_renamed, finish, open_folder, write_failures
from codec.files.prior import prior_to_read_with, prior_to_write_with
from codec.files.report import CorpusReport, FileReport, Progress
from codec.files.sinks import check_suffix
from codec.files.streams import open_input
from codec.files.tree import files_below, names_apart
from codec.files.workers import Failed, num_cores, run_tasks
from codec.priors.coding import CodingPrior

RECORD = "corpus.json"
CODED = ".vqc"


class Encoding(Config):
    """How `encode_folder` codes; as for `encode_file`, the model and the prior by name or folder."""

    model: str
    num_active: PositiveInt | None = None
    bitrate_bps: PositiveFloat | None = None
    prior: str = "auto"
    mono: bool = False
    device: str = "auto"


class Decoding(Config):
    """How `decode_folder` decodes; as for `decode_file`."""

    model: str | None = None
    prior: str = "auto"
    skip_damaged: bool = False
    model_rate: bool = False
    suffix: str | None = None
    device: str = "auto"


@dataclass(frozen=True)
class Job:
    """One file to make: where from, where to, and where to write until it is whole."""

    source: Path
    target: Path
    unfinished: Path


def encode_folder(
    source: Path, target: Path, options: Encoding, *, jobs: int | None = None, progress: Progress | None = None
) -> CorpusReport:
    """Code all recordings below `source`, or all pictures if the model codes pictures, to .vqc files below `target`.

    Paths stay; `a.wav` becomes `a.vqc`, but next to an `a.flac` the two become `a.wav.vqc` and `a.flac.vqc`. Hidden
    files are passed over. A file that cannot be coded is listed in `failures.jsonl`, and the rest go on.

    Run again, it makes what is missing: a file is finished if it is whole, of this model, and no older than its
    source; its bytes are the same whichever run made it. `corpus.json` holds the options, and others are refused.
    `names.json` holds what was made of what: if a source's file has another name by now, as `a.vqc` has once there is
    an `a.flac`, that of the old name is removed; if a source is gone, its file stays. The report tells of both.

    Args:
        jobs: processes of one thread each; as many as there are cores, or one on a GPU, if None.
        progress: called with (files done, files in all).

    Raises:
        UserError: nothing to code, options that do not go together, or a folder of another run.
    """
    model = load_model(options.model, device="cpu")
    check_rate(model, options.num_active, options.bitrate_bps)
    prior = prior_to_write_with(options.prior, model)
    names = files_below(source, lambda path: kind_of(path) == model.media.kind, outside=target)
    if not names:
        raise UserError(f"{source} holds no file whose name says that it is {model.media.kind}: nothing to encode")
    everything = max(model.rates) if options.bitrate_bps is None else None
    record = {
        "made_by": "codec encode",
        "source": os.path.abspath(source),
        "model": model.name,
        "fingerprint": model.fingerprint,
        "num_active": options.num_active or everything,
        "bitrate_bps": options.bitrate_bps,
        "prior": prior.fingerprint if prior else None,
        "mono": options.mono,
    }
    targets = names_apart(dict.fromkeys(names, CODED))
    is_finished = functools.partial(_is_coded, fingerprint=model.fingerprint)
    run = _Run(source, target, targets, record, is_finished, functools.partial(_encoder, options))
    return run(jobs or cores_for(options.device), progress)


def decode_folder(
    source: Path, target: Path, options: Decoding, *, jobs: int | None = None, progress: Progress | None = None
) -> CorpusReport:
    """Decode all .vqc files below `source` into recordings and pictures below `target`: `encode_folder` backwards.

    `a.vqc` becomes `a.wav` or `a.png`, or what the options say. A file is finished if it is there and no older than
    its source; those that earlier runs made are kept or removed as there.

    Args:
        jobs, progress: as for `encode_folder`.

    Raises:
        UserError: nothing to decode, a suffix of no format, or a folder of another run.
    """
    names = files_below(source, lambda path: path.suffix.lower() == CODED, outside=target)
    if not names:
        raise UserError(f"{source} holds no {CODED} file: nothing to decode")
    suffixes = {name: _suffix_of(source / name) for name in names}
    if options.suffix:
        check_suffix(options.suffix, sound=".wav" in suffixes.values(), pictures=".png" in suffixes.values())
        suffixes = dict.fromkeys(names, options.suffix)
    record = {
        "made_by": "codec decode",
        "source": os.path.abspath(source),
        "fingerprint": read_card(find_model(options.model)).fingerprint if options.model else None,
        **options.model_dump(exclude={"model", "device"}),
    }
    run = _Run(source, target, names_apart(suffixes), record, _is_newer, functools.partial(_decoder, options))
    return run(jobs or cores_for(options.device), progress)


def cores_for(device: str) -> int:
    """Processes that keep a machine busy: one for a GPU, else one for each core.

    Raises:
        UserError: there is no such device.
    """
    return 1 if resolve_device(device).type == "cuda" else num_cores()


@dataclass(frozen=True)
class _Run:
    """What is to be made of what.

    Attributes:
        names: sources and the targets made of them, relative to their folders.
        record: what decides what is made.
        is_finished: whether a target (the second) is what is wanted of a source (the first).
        start: as for `run_tasks`.
    """

    source: Path
    target: Path
    names: dict[Path, Path]
    record: dict[str, Any]
    is_finished: Callable[[Path, Path], bool]
    start: Callable[[], Callable[[Job], FileReport]]

    def __call__(self, jobs: int, progress: Progress | None) -> CorpusReport:
        started = time.perf_counter()
        reports: list[FileReport] = []
        failures: dict[str, str] = {}
        paths = {self.source / name: self.target / made for name, made in self.names.items()}
        with open_folder(self.target, RECORD, self.record, paths.values()) as unfinished:
            left = clear_renamed(self.target, {name.as_posix(): made.as_posix() for name, made in self.names.items()})
            todo = [(path, made) for path, made in paths.items() if not self.is_finished(path, made)]
            tasks = [Job(path, made, unfinished / f"{i}{made.suffix}") for i, (path, made) in enumerate(todo)]
            num_kept = len(paths) - len(tasks)
            try:
                with closing(run_tasks(self.start, tasks, jobs=jobs)) as answers:
                    for done, (number, answer) in enumerate(answers, num_kept + 1):
                        if isinstance(answer, Failed):
                            failures[tasks[number].source.relative_to(self.source).as_posix()] = answer.reason
                        else:
                            reports.append(answer)
                        if progress:
                            progress(done, len(paths))
            finally:
                failures_path = write_failures(self.target, failures)
        return CorpusReport(
            num_files=len(paths),
            num_done=len(reports),
            num_kept=num_kept,
            failures=failures,
            failures_path=str(failures_path),
            bytes=sum(report.bytes for report in reports),
            duration_s=sum(report.duration_s or 0.0 for report in reports),
            elapsed_s=time.perf_counter() - started,
            num_removed=left.num_removed,
            orphans=left.orphans,
            damage=tuple(f"{report.source}: {damage.where}" for report in reports for damage in report.damage),
        )


def _encoder(options: Encoding) -> Callable[[Job], FileReport]:
    model = load_model(options.model, device=options.device)
    prior = prior_to_write_with(options.prior, model) or "none"

    def encode(job: Job) -> FileReport:
        report = encode_file(
            job.source,
            job.unfinished,
            model,
            num_active=options.num_active,
            bitrate_bps=options.bitrate_bps,
            prior=prior,
            mono=options.mono,
        )
        finish(job.unfinished, job.target)
        return report

    return encode


def _decoder(options: Decoding) -> Callable[[Job], FileReport]:
    load = functools.cache(functools.partial(load_model, device=options.device))
    priors: dict[str, CodingPrior] = {}

    def prior_of(header: Header, name: str) -> CodingPrior | str:
        if header.prior is None:
            return "none"
        if header.prior.fingerprint not in priors and (prior := prior_to_read_with(options.prior, header, name)):
            priors[header.prior.fingerprint] = prior
        return priors[header.prior.fingerprint]

    def decode(job: Job) -> FileReport:
        header, name = _header(job.source), str(job.source)
        report = decode_file(
            job.source,
            job.unfinished,
            load(options.model or model_of(header, name)),
            prior=prior_of(header, name),
            skip_damaged=options.skip_damaged,
            model_rate=options.model_rate,
        )
        finish(job.unfinished, job.target)
        return report

    return decode


def _is_coded(source: Path, target: Path, *, fingerprint: str) -> bool:
    try:
        with open(target, "rb") as file:
            contents = read_header(file)
            whole = file.seek(0, os.SEEK_END) == contents.total_bytes
    except (OSError, UserError):
        return False
    return whole and contents.header.fingerprint == fingerprint and _is_newer(source, target)


def _is_newer(source: Path, target: Path) -> bool:
    return source.exists() and target.exists() and target.stat().st_mtime >= source.stat().st_mtime


def _suffix_of(coded: Path) -> str:
    """The format of what is in a file that says nothing about it; any if it cannot be read, which is told later."""
    try:
        return ".wav" if isinstance(_header(coded).media, AudioHeader) else ".png"
    except UserError:
        return ".wav"


def _header(path: Path) -> Header:
    with open_input(path) as file:
        return read_header(file, str(path)).header
