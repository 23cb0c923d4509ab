"""`codec align`: when each phone of a transcribed corpus is said."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from codec.cli.scripts import load_package
from codec.cli.show import progress_bar, say
from codec.core.bundled import data_prep_folder


class AlignerName(StrEnum):
    """Of what finds the times."""

    pocketsphinx = "pocketsphinx"
    torch = "torch"


def align(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="Of recordings that have a transcript.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.jsonl", help="One line a recording: its words and phones.")],
    aligner: Annotated[
        AlignerName, typer.Option(help="pocketsphinx is for English; torch takes your model.")
    ] = AlignerName.pocketsphinx,
    acoustic_model: Annotated[
        Path | None, typer.Option(metavar="FILE.pt2", help="Of torch: from signal to log-probabilities of labels.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of torch: the model's labels, one a line, blank first.")
    ] = None,
    dictionary: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of torch: a word and its labels a line. Default: words are spelled."),
    ] = None,
    model_rate: Annotated[int, typer.Option(min=1, metavar="HZ", help="Of torch: what the model takes.")] = 16000,
    split: Annotated[str | None, typer.Option(help="Of the manifest. Default: all of it.")] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", "--jobs", min=1, metavar="N", help="Processes. Default: the cores.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="The first N recordings only.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Keep what OUT or a run that was stopped has.")] = False,
) -> None:
    """Find when each word and phone of a corpus is said (docs/units.md).

    Recordings that cannot be aligned, such as those with words that the dictionary lacks, are left out and listed
    beside OUT, with the reason.
    """
    files = {"acoustic_model": acoustic_model, "labels": labels, "dictionary": dictionary}
    options = {"aligner": aligner.value, **{name: str(path) if path else None for name, path in files.items()}}
    settings = {"model_rate": model_rate} if aligner is AlignerName.torch else {"times": "of the sound"}
    digests = {name: _digest(path) for name, path in files.items() if path}
    preparation = load_package(data_prep_folder(), "align")
    with progress_bar("aligning") as progress:
        report = preparation.align_corpus(
            manifest,
            out,
            functools.partial(_start, {**options, "sample_rate": model_rate}),
            made_by={"aligner": aligner.value} | digests | settings,
            split=split,
            limit=limit,
            workers=workers,
            resume=resume,
            progress=progress,
        )
    kept = f", {report.kept} kept" if report.kept else ""
    say(f"{report.out}: {report.done} aligned{kept}")
    if report.skipped:
        say(f"{report.skipped_list}: {len(report.skipped)} skipped, with the reason")


def _start(options: Mapping[str, Any]) -> Callable[[Any], str]:
    """In a process of its own, which has to load the preparations again."""
    preparation = load_package(data_prep_folder(), "align")
    return functools.partial(preparation.align_recording, preparation.open_aligner(**options))


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
