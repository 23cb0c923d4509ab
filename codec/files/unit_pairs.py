"""Files of units with byte-pair tokens beside them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from codec.core.atomic import atomic_write_text
from codec.core.errors import UserError
from codec.core.lines import numbered_lines
from codec.core.pairs import Pairs, learn_pairs


@dataclass(frozen=True)
class Paired:
    """What was written.

    Attributes:
        pairs: that became tokens; where they were learnt here, they are in `pairs_path`.
        num_lines, num_runs, num_tokens: recordings, and what is in all of them.
    """

    pairs: Pairs
    pairs_path: Path
    num_lines: int
    num_runs: int
    num_tokens: int


def write_tokens(source: Path, target: Path, *, num_merges: int, known: Path | None = None) -> Paired:
    """Write the lines of `source`, which `write_units` wrote, to `target` with `tokens` of their runs.

    Args:
        num_merges: pairs to learn from them, which are written beside `target` as `.pairs.json`.
        known: pairs that were learnt before, in place of that.

    Raises:
        UserError: `source` is no file of units of one model, or `known` is not of such units.
    """
    if target.suffix != ".jsonl":
        raise UserError(f"{target} ends in {target.suffix!r}: tokens are written to .jsonl")
    lines = [_parsed(text, f"{source}, line {number}") for number, text in numbered_lines(source)]
    num_units = _num_units(lines, source)
    runs = [np.array(line["runs"], dtype=np.int64) for line in lines]
    pairs = _read_pairs(known, num_units) if known else learn_pairs(runs, num_units=num_units, num_merges=num_merges)
    tokens = [pairs.apply(sequence).tolist() for sequence in runs]
    pairs_path = target.with_suffix(".pairs.json")
    if not known:
        atomic_write_text(pairs_path, pairs.model_dump_json() + "\n")
    joined = (json.dumps(line | {"tokens": those}) + "\n" for line, those in zip(lines, tokens, strict=True))
    atomic_write_text(target, "".join(joined))
    return Paired(pairs, pairs_path, len(lines), sum(map(len, runs)), sum(map(len, tokens)))


def _parsed(text: str, place: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
        number = int(line["num_units"])
        sound = isinstance(line["fingerprint"], str) and all(0 <= int(unit) < number for unit in line["runs"])
    except (ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        raise UserError(f"{place} is not what `codec units encode` writes to .jsonl")
    return line


def _num_units(lines: list[dict[str, Any]], source: Path) -> int:
    if not lines:
        raise UserError(f"{source} is empty: write recordings to it with codec units encode")
    first = lines[0]
    for line in lines:
        if line["fingerprint"] != first["fingerprint"]:
            raise UserError(
                f"{source} holds units of {first['model']} ({first['fingerprint']}) and of {line['model']} "
                f"({line['fingerprint']}): take one model at a time"
            )
    return int(first["num_units"])


def _read_pairs(path: Path, num_units: int) -> Pairs:
    try:
        pairs = Pairs.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    except ValidationError:
        raise UserError(f"{path} is not what `codec units pairs` writes beside its tokens") from None
    if pairs.num_units != num_units:
        raise UserError(f"{path} has pairs of {pairs.num_units} units, these are of {num_units}: take its own")
    return pairs
