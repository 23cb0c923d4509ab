"""`codec demo`: code a few files, look at them and listen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from codec.cli.options import Device, NumActive


def demo(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="IN", help="Recordings and pictures. Default: samples of installed packages."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for report.html and the compressed files.")] = Path("demo"),
    num_active: NumActive = None,
    device: Device = "auto",
) -> None:
    """Encode and decode a few files; write a page to hear, see and measure the result."""
    from codec.report import run_demo

    run_demo(files, out, num_active=num_active, device=device)
