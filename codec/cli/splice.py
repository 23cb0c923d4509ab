"""`codec slice`, `codec concat`: coded recordings cut and put together without coding them again."""

from __future__ import annotations

from typing import Annotated

import typer

from codec.cli.show import report_lines, say


def cut(
    source: Annotated[str, typer.Argument(metavar="IN", help="A .vqc file of sound; - is standard input.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="Where to; - is standard output.")],
    start_s: Annotated[
        float, typer.Option("--start", metavar="S", min=0, help="Seconds; moves to the nearest border of a chunk.")
    ] = 0.0,
    stop_s: Annotated[
        float | None, typer.Option("--stop", metavar="S", help="Seconds, likewise. Default: the end.")
    ] = None,
) -> None:
    """Copy a part of a .vqc recording, from border to border of its chunks, without decoding it."""
    from codec.files.splice import slice_file

    for line in report_lines(slice_file(source, target, start_s=start_s, stop_s=stop_s)):
        say(line)


def concat(
    sources: Annotated[list[str], typer.Argument(metavar="IN...", help=".vqc files of sound, of one model.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="Where to; - is standard output.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="The model's folder, if every file has one chunk only and it is not bundled."
        ),
    ] = None,
) -> None:
    """Put .vqc recordings one after the other, without decoding them; all but the last must end on a border."""
    from codec.files.splice import concat_files

    for line in report_lines(concat_files(sources, target, model)):
        say(line)
