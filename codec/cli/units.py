"""`codec units`: speech to units, and what units are worth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from codec.cli.options import Device
from codec.cli.show import progress_bar, say
from codec.core.wording import counted

app = typer.Typer(help="Write speech down in units, and measure what they are worth.", no_args_is_help=True)

_Source = Annotated[str, typer.Argument(metavar="MANIFEST|DIR", help="Recordings.")]
_Model = Annotated[str, typer.Option("--model", "-m", help="A bundled name, a run folder or a folder.")]
_Penalty = Annotated[
    float,
    typer.Option(min=0.0, help="Cost of a change of units: fewer, longer runs. 0: the nearest unit of every frame."),
]
_Split = Annotated[list[str] | None, typer.Option("--split", help="Of the manifest; may be repeated. Default: all.")]


@app.command()
def encode(
    source: _Source,
    target: Annotated[Path, typer.Argument(metavar="OUT", help="A .jsonl or .parquet file.")],
    model: _Model,
    split: _Split = None,
    penalty: _Penalty = 0.0,
    device: Device = "auto",
) -> None:
    """Write recordings down in units: all of them, and without repetitions with their times.

    A recording that cannot be read is named, and the exit code is 1.
    """
    from codec.checkpoint.units import load_units
    from codec.files.speech_entries import speech_entries
    from codec.files.unit_lines import write_units

    loaded = load_units(model, device=device)
    entries = speech_entries(Path(source), splits=split or ())
    with progress_bar("writing units") as progress:
        written = write_units(loaded, entries, target, penalty=penalty, progress=progress)
    say(f"{target}: {counted(written.num_written, 'recording')} in {loaded.codebook_size} units of {loaded.name}")
    _tell_left_out(written.failures)


@app.command("eval")
def evaluate(
    source: _Source,
    model: _Model,
    phones: Annotated[
        Path | None, typer.Option(help="Phone times: JSONL, a folder of TextGrids, or a ZeroSpeech .item file.")
    ] = None,
    split: _Split = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many recordings, spread over all.")] = None,
    penalty: _Penalty = 0.0,
    distance: Annotated[
        Literal["angular", "kl"],
        typer.Option(help="Of frames in ABX: by angle, or by Kullback-Leibler divergence, of posteriors."),
    ] = "angular",
    json_path: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all figures there.")] = None,
    html_path: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with heat maps and examples there.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Tell how well units carry phones and drop the speaker: ABX, accuracy, information, boundaries, bits, a probe.

    A recording that cannot be read is named, and the exit code is 1.
    """
    from codec.checkpoint.units import load_units
    from codec.core.atomic import atomic_write_text
    from codec.eval.heard import hear
    from codec.eval.item_file import read_items
    from codec.eval.phones import read_phones
    from codec.eval.unit_table import unit_lines
    from codec.eval.units import score_units
    from codec.files.speech_entries import speech_entries, spread, with_phone_times

    found = read_phones(phones) if phones else {}
    loaded = load_units(model, device=device)
    every = speech_entries(Path(source), splits=split or ())
    measured = with_phone_times(every, found.keys()) if phones else every
    if len(measured) < len(every):
        say(f"left out: {counted(len(every) - len(measured), 'recording')} without phone times")
    entries = spread(measured, limit)
    failures: dict[str, str] = {}
    with progress_bar("listening") as progress:
        heard = list(hear(loaded, entries, found, failures=failures, penalty=penalty, progress=progress))
    stems = {recording.stem for recording in heard}
    items = read_items(phones) if phones and phones.suffix == ".item" and not phones.is_dir() else None
    asked = items and [item for item in items if item.stem in stems]
    scores = score_units(loaded, heard, items=asked, distance=distance)
    if json_path:
        atomic_write_text(json_path, json.dumps(scores.as_dict(), indent=2) + "\n")
    if html_path:
        from codec.report import write_units_page

        write_units_page(html_path, loaded, scores, heard)
    for line in unit_lines(scores):
        say(line)
    _tell_left_out(failures)


@app.command()
def pairs(
    source: Annotated[Path, typer.Argument(metavar="UNITS", help="What `codec units encode` wrote, .jsonl.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="A .jsonl file.")],
    merges: Annotated[int, typer.Option(min=1, help="How many pairs become tokens.")] = 500,
    known: Annotated[
        Path | None, typer.Option("--pairs", metavar="FILE", help="Pairs that were found before, to use as they are.")
    ] = None,
) -> None:
    """Write runs of units as byte-pair tokens: the commonest neighbours become one, again and again."""
    from codec.files.unit_pairs import write_tokens

    written = write_tokens(source, target, num_merges=merges, known=known)
    say(
        f"{target}: {counted(written.num_lines, 'recording')}, {written.num_runs} runs of units in "
        f"{written.num_tokens} tokens of {written.pairs.num_tokens}"
    )
    if not known:
        say(f"{written.pairs_path}: {counted(len(written.pairs.merges), 'pair')}")


@app.command()
def resynthesize(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Recordings (one, a folder, a manifest) or a .jsonl file of units.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="OUT_DIR", help="A WAV file for each goes there.")],
    model: _Model,
    speaker: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose voice; default: each one's own if the model knows it.")
    ] = None,
    split: _Split = None,
    device: Device = "auto",
) -> None:
    """Make units heard, in the voice of any speaker of the training: of recordings, this is voice conversion.

    A recording that cannot be read is named, and the exit code is 1.
    """
    from codec.checkpoint.units import load_units
    from codec.files.resynthesis import audible, write_sounds

    loaded = audible(load_units(model, device=device))
    with progress_bar("speaking") as progress:
        written = write_sounds(loaded, source, folder, speaker=speaker, splits=split or (), progress=progress)
    voice = f"in the voice of {speaker}" if speaker else "each in its own voice, or nobody's"
    say(f"{folder}: {counted(written.num_written, 'recording')} {voice}, by {loaded.name}")
    _tell_left_out(written.failures)


def _tell_left_out(failures: dict[str, str]) -> None:
    """Name every recording that was left out, with the reason; if there are any, the exit code is 1."""
    for path, reason in failures.items():
        say(f"left out: {reason}" if path in reason else f"left out {path}: {reason}")
    if failures:
        raise typer.Exit(1)
