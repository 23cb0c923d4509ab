"""`codec encode`, `codec decode`, `codec info`: files, and folders of them, to codes and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codec.cli.options import AsJson, Bitrate, Device, Duration, Jobs, NumActive, Start
from codec.cli.show import info_lines, progress_bar, report_lines, say
from codec.core.errors import UserError
from codec.core.wording import counted

if TYPE_CHECKING:
    from codec.files.report import CorpusReport

_Signal = Annotated[
    str, typer.Argument(metavar="IN", help="A recording, a picture, or a folder of them; - is standard input.")
]
_Coded = Annotated[str, typer.Argument(metavar="IN", help="A .vqc file, or a folder of them; - is standard input.")]
_Target = Annotated[str, typer.Argument(metavar="OUT", help="Where to; - is standard output. A folder's is a folder.")]


def encode(
    source: _Signal,
    target: _Target,
    model: Annotated[str, typer.Option("--model", "-m", help="A bundled name (see `codec models`) or a folder.")],
    num_active: NumActive = None,
    bitrate: Bitrate = None,
    prior: Annotated[
        str,
        typer.Option(
            "--prior",
            metavar="auto|none|PRIOR",
            help="A prior that makes the file smaller: a bundled name or a folder; auto takes the one bundled with the "
            "model, if any. To decode, the same one is needed.",
        ),
    ] = "auto",
    mono: Annotated[bool, typer.Option("--mono", help="Mix the channels down to one.")] = False,
    jobs: Jobs = None,
    device: Device = "auto",
) -> None:
    """Encode a recording or a picture into a small .vqc file; or a folder of them into a folder of such files.

    Of a folder, all recordings at any depth are encoded, or all pictures if the model is of pictures. A file that
    cannot be is listed in OUT/failures.jsonl, and the exit code is 1. Run again, the command does what is not done.
    """
    if source != "-" and not Path(source).exists():  # told before torch and the model are loaded
        raise UserError(f"no such file: {source}")
    from codec.checkpoint import load_model
    from codec.files.rate import parse_bitrate

    bitrate_bps = None if bitrate is None else parse_bitrate(bitrate)
    if Path(source).is_dir():
        from codec.files.corpus import Encoding, encode_folder

        options = Encoding(
            model=model, num_active=num_active, bitrate_bps=bitrate_bps, prior=prior, mono=mono, device=device
        )
        with progress_bar("encoding") as progress:
            found = encode_folder(Path(source), Path(target), options, jobs=jobs, progress=progress)
        return tell_folder(source, target, found)
    from codec.files import encode_file

    _refuse("--jobs", jobs, f"is for folders, and {source} is none")
    loaded = load_model(model, device=device)
    with progress_bar("encoding") as progress:
        report = encode_file(
            source,
            target,
            loaded,
            num_active=num_active,
            bitrate_bps=bitrate_bps,
            prior=prior,
            mono=mono,
            progress=progress,
        )
    for line in report_lines(report):
        say(line)


def decode(
    source: _Coded,
    target: _Target,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="The model's folder; a bundled one is found by itself."),
    ] = None,
    prior: Annotated[
        str, typer.Option("--prior", metavar="auto|PRIOR", help="The prior's folder; a bundled one is found by itself.")
    ] = "auto",
    skip_damaged: Annotated[
        bool,
        typer.Option("--skip-damaged", help="Leave silence or grey where a chunk is damaged, and go on."),
    ] = False,
    model_rate: Annotated[
        bool, typer.Option("--model-rate", help="Keep sound at the model's sample rate, not the original's.")
    ] = False,
    suffix: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="Such as flac, when OUT does not tell.")
    ] = None,
    start: Start = None,
    duration: Duration = None,
    jobs: Jobs = None,
    device: Device = "auto",
) -> None:
    """Decode a .vqc file into a recording or a picture; OUT's suffix is the format. A folder: see `codec encode`.

    With --start and --duration a part of a recording is decoded, and no more of the file is read than it takes.
    """
    ending = f".{suffix.lstrip('.')}" if suffix else None
    if Path(source).is_dir():
        from codec.files.corpus import Decoding, decode_folder

        for name, value in (("--start", start), ("--duration", duration)):
            _refuse(name, value, f"is for one recording, and {source} is a folder")
        options = Decoding(
            model=model, prior=prior, skip_damaged=skip_damaged, model_rate=model_rate, suffix=ending, device=device
        )
        with progress_bar("decoding") as progress:
            found = decode_folder(Path(source), Path(target), options, jobs=jobs, progress=progress)
        return tell_folder(source, target, found)
    from codec.files import decode_file

    _refuse("--jobs", jobs, f"is for folders, and {source} is none")
    with progress_bar("decoding") as progress:
        report = decode_file(
            source,
            target,
            model,
            prior=prior,
            skip_damaged=skip_damaged,
            model_rate=model_rate,
            suffix=ending,
            start_s=start or 0.0,
            duration_s=duration,
            device=device,
            progress=progress,
        )
    for line in report_lines(report):
        say(line)


def tell_folder(source: str, target: str, report: CorpusReport) -> None:
    """Say what a folder came to; exit code 1 if some files failed."""
    kept = f", {report.num_kept} were done before" if report.num_kept else ""
    rate = f", {8 * report.bytes / report.duration_s / 1000:.2f} kbit/s" if report.duration_s else ""
    speed = f", {report.duration_s / report.elapsed_s:.3g} x real time" if report.duration_s else ""
    size = f"{report.bytes} bytes{rate}, {report.elapsed_s:.2f} s{speed}"
    say(f"{source} -> {target}: {report.num_done} of {report.num_files} files{kept}: {size}")
    if report.num_removed:
        say(f"removed {counted(report.num_removed, 'file')} of earlier runs, whose names have changed since")
    if report.orphans:
        number = counted(len(report.orphans), "file")
        say(f"{target} still has {number} of sources that are gone, such as {report.orphans[0]}")
    for line in report.damage:
        say(f"damaged: {line}")
    if report.failures:
        say(f"{len(report.failures)} of {report.num_files} files failed: {report.failures_path} says why")
        raise typer.Exit(1)


def _refuse(option: str, value: float | None, reason: str) -> None:
    if value is not None:
        raise UserError(f"{option} {reason}: leave it out")


def info(
    source: Annotated[str, typer.Argument(metavar="FILE", help="A .vqc file; - is standard input.")],
    as_json: AsJson = False,
) -> None:
    """Tell what is in a .vqc file, and check that it is whole; exit code 1 if it is damaged."""
    from codec.files import read_info

    found = read_info(source)
    print(json.dumps(found.as_dict(), indent=2) if as_json else "\n".join(info_lines(found)))
    if not found.intact:
        raise typer.Exit(1)
