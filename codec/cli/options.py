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
