"""`codec encode`, `codec decode`, `codec info`: files to codes and back."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from codec.cli.options import AsJson, Device, NumActive
from codec.cli.show import info_lines, progress_bar, report_lines, say

_Signal = Annotated[str, typer.Argument(metavar="IN", help="A recording or a picture; - is standard input.")]
_Coded = Annotated[str, typer.Argument(metavar="IN", help="A .vqc file; - is standard input.")]
_Target = Annotated[str, typer.Argument(metavar="OUT", help="Where to; - is standard output.")]


def encode(
    source: _Signal,
    target: _Target,
    model: Annotated[str, typer.Option("--model", "-m", help="A bundled name (see `codec models`) or a folder.")],
    num_active: NumActive = None,
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
    device: Device = "auto",
) -> None:
    """Encode a recording or a picture into a small .vqc file."""
    from codec.checkpoint import load_model
    from codec.files import encode_file

    loaded = load_model(model, device=device)
    with progress_bar("encoding") as progress:
        report = encode_file(source, target, loaded, num_active=num_active, prior=prior, mono=mono, progress=progress)
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
    device: Device = "auto",
) -> None:
    """Decode a .vqc file into a recording or a picture; OUT's suffix is the format."""
    from codec.files import decode_file

    with progress_bar("decoding") as progress:
        report = decode_file(
            source,
            target,
            model,
            prior=prior,
            skip_damaged=skip_damaged,
            model_rate=model_rate,
            suffix=f".{suffix.lstrip('.')}" if suffix else None,
            device=device,
            progress=progress,
        )
    for line in report_lines(report):
        say(line)


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
