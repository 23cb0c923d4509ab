"""`codec tokenize`, `codec detokenize`: a corpus to tokens for language models, and one of them to sound again."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from codec.cli.files import tell_folder
from codec.cli.options import Bitrate, Device, Jobs, NumActive
from codec.cli.show import progress_bar, report_lines, say

_MOST_DIGITS = 18  # of a row's number; what is longer is a path


class Format(StrEnum):
    """Of a shard."""

    npz = "npz"
    parquet = "parquet"


def tokenize(
    source: Annotated[str, typer.Argument(metavar="MANIFEST|DIR", help="Of recordings.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="Folder for the shards and tokens.json.")],
    model: Annotated[str, typer.Option("--model", "-m", help="A bundled name (see `codec models`) or a folder.")],
    num_active: NumActive = None,
    bitrate: Bitrate = None,
    split: Annotated[str | None, typer.Option(help="Of the manifest. Default: all of it.")] = None,
    shard_format: Annotated[Format, typer.Option("--format", help="Parquet needs pyarrow.")] = Format.npz,
    shard_size: Annotated[int, typer.Option(min=1, metavar="N", help="Recordings in a shard.")] = 1000,
    jobs: Jobs = None,
    device: Device = "auto",
) -> None:
    """Write the codes of a corpus for the training of language models (docs/tokens.md).

    A recording that cannot be read is listed in OUT/failures.jsonl, and the exit code is 1. Run again, the command does
    only the shards that are not done.
    """
    from codec.files.rate import parse_bitrate
    from codec.files.tokenizing import Tokenizing, tokenize_corpus

    options = Tokenizing(
        model=model,
        num_active=num_active,
        bitrate_bps=None if bitrate is None else parse_bitrate(bitrate),
        split=split,
        shard_format=shard_format.value,
        shard_size=shard_size,
        device=device,
    )
    with progress_bar("tokenizing") as progress:
        report = tokenize_corpus(Path(source), Path(target), options, jobs=jobs, progress=progress)
    tell_folder(source, target, report)


def detokenize(
    tokens: Annotated[Path, typer.Argument(metavar="TOKENS", help="Folder that `codec tokenize` wrote.")],
    row: Annotated[str, typer.Argument(metavar="ROW", help="Its number, from 0, or its path.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="A recording; - is standard output.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The model's folder; a bundled one is found by itself.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Turn one row of tokens back into a recording; OUT's suffix is the format."""
    from codec.files.tokens import decode_tokens, read_tokens

    store = read_tokens(tokens)
    found = store.row(int(row) if row.isdecimal() and len(row) <= _MOST_DIGITS else row)
    for line in report_lines(decode_tokens(store, found, target, model, device=device)):
        say(line)
