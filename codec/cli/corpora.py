"""`codec prep`: from a corpus as it is downloaded to a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from codec.cli.scripts import load_package
from codec.cli.show import progress_bar, say
from codec.core.bundled import data_prep_folder
from codec.core.wording import counted


def prep(
    corpus: Annotated[str, typer.Argument(help="folder, librispeech, vctk, ljspeech, cifar10, imagenet or ffhq.")],
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Folder of the corpus, or where to download it.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for manifest.jsonl and the skipped files' list.")],
    download: Annotated[bool, typer.Option("--download", help="Fetch the corpus into SOURCE first.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Threads that decode files.")] = 4,
    speakers: Annotated[
        bool, typer.Option("--speakers", help="Of folder: the first folder below SOURCE that a recording is in speaks.")
    ] = False,
    transcripts: Annotated[
        bool, typer.Option("--transcripts", help="Of folder: a .txt or .lab beside a recording is what is said in it.")
    ] = False,
) -> None:
    """Write a corpus's manifest, leaving out files that are broken, empty, silent or too short."""
    registry = load_package(data_prep_folder(), "registry")
    told = {name: True for name, wanted in (("speakers", speakers), ("transcripts", transcripts)) if wanted}
    with progress_bar(f"reading {corpus}") as progress:
        report = registry.prepare(corpus, source, out, download=download, workers=workers, progress=progress, **told)
    splits = ", ".join(f"{count} {split}" for split, count in report.splits.items())
    say(f"{report.manifest}: {splits}")
    for name in told:
        say(f"{counted(report.told[name.removesuffix('s')], 'recording')} with a {name.removesuffix('s')}")
    if report.skipped:
        say(f"{report.skipped_list}: {len(report.skipped)} skipped, with the reason")
