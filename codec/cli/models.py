"""`codec models` and `codec eval`: what models there are, and how good one is."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from codec.cli.options import AsJson, Device, NumActive
from codec.cli.show import progress_bar


def models(as_json: AsJson = False) -> None:
    """List the bundled models."""
    from codec.checkpoint import list_models

    cards = list_models()
    if as_json:
        print(json.dumps([asdict(card) for card in cards], indent=2))
        return
    for card in cards:
        size, about = f"{card.bytes / 1e6:.1f} MB", card.facts.get("description", "")
        print(f"{card.name:<16} {card.media['kind']:<6} {size:>8}  {card.fingerprint}  {about}".rstrip())


def evaluate(
    model: Annotated[str, typer.Argument(help="A bundled name (see `codec models`) or a folder.")],
    manifest: Annotated[Path, typer.Argument(help="A manifest.jsonl, as `codec prep` writes it.")],
    report: Annotated[Path, typer.Option("--json", metavar="OUT", help="Where the report goes; - prints it.")],
    num_active: NumActive = None,
    split: Annotated[list[str] | None, typer.Option(help="Only entries of this split; may be repeated.")] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="At most N entries, spread evenly over the manifest."),
    ] = None,
    rivals: Annotated[bool, typer.Option("--rivals", help="Run classical codecs on the same entries.")] = False,
    device: Device = "auto",
) -> None:
    """Measure a model on a manifest, through real files: bits, quality, speed."""
    from rich.console import Console

    from codec.checkpoint import load_model
    from codec.eval import evaluate, evaluation_table
    from codec.files.streams import open_output, refuse_overwriting

    refuse_overwriting(manifest, str(report))
    loaded = load_model(model, device=device)
    with open_output(str(report)) as out, progress_bar("evaluating") as progress:
        result = evaluate(
            loaded,
            manifest,
            split=split,
            num_active=num_active,
            limit=limit,
            rivals=rivals,
            progress=progress,
        )
        out.write((json.dumps(result, indent=2) + "\n").encode())
    if str(report) != "-":
        Console().print(evaluation_table(result))
