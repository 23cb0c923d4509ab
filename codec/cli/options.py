"""Options and arguments that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

Device = Annotated[str, typer.Option(help="auto (CUDA where present), cpu or cuda.", metavar="auto|cpu|cuda")]
NumActive = Annotated[
    int | None,
    typer.Option(min=1, help="Use the first N codebooks only: fewer bits. Default: all.", metavar="N"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Bitrate = Annotated[
    str | None,
    typer.Option(
        metavar="3k|3000",
        help="Instead of --num-active, bits per second of a recording: the nearest rate the model has.",
    ),
]
Start = Annotated[
    float | None, typer.Option("--start", metavar="S", help="Seconds into the recording. Default: its beginning.")
]
Duration = Annotated[
    float | None, typer.Option("--duration", metavar="S", help="Seconds of the recording. Default: to its end.")
]
Jobs = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Processes for a folder. Default: the cores there are, or 1 on a GPU."),
]
