"""Byte-pair tokens of files of units: what is written, what comes back, and what is refused."""

import json

import numpy as np
import pytest

from codec.cli.main import main
from codec.core.errors import UserError
from codec.core.pairs import Pairs
from codec.files.unit_pairs import write_tokens

RUNS = [[0, 1, 2, 0, 1, 3], [0, 1, 2, 3], [3]]


def _write(path, runs=RUNS, **changes):
    lines = [
        {"path": f"{at}.wav", "model": "m", "fingerprint": "f", "num_units": 4, "units": row, "runs": row} | changes
        for at, row in enumerate(runs)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def _tokens(path):
    return [json.loads(line)["tokens"] for line in path.read_text().splitlines()]


def test_the_commonest_neighbours_become_tokens_that_spell_the_runs_again(tmp_path):
    source = _write(tmp_path / "units.jsonl")
    written = write_tokens(source, tmp_path / "out.jsonl", num_merges=2)
    assert written.pairs.merges == ((0, 1), (4, 2))
    assert _tokens(tmp_path / "out.jsonl") == [[5, 4, 3], [5, 3], [3]]
    assert (written.num_lines, written.num_runs, written.num_tokens) == (3, 11, 6)
    pairs = Pairs.model_validate_json((tmp_path / "out.pairs.json").read_text())
    assert [pairs.undo(np.array(row)).tolist() for row in _tokens(tmp_path / "out.jsonl")] == RUNS


def test_pairs_that_are_known_are_used_as_they_are(tmp_path):
    write_tokens(_write(tmp_path / "units.jsonl"), tmp_path / "out.jsonl", num_merges=1)
    others = _write(tmp_path / "others.jsonl", [[2, 2, 2, 0, 1]])
    known = tmp_path / "out.pairs.json"
    assert main(["units", "pairs", str(others), str(tmp_path / "o.jsonl"), "--pairs", str(known)]) == 0
    assert _tokens(tmp_path / "o.jsonl") == [[2, 2, 2, 4]]
    assert not (tmp_path / "o.pairs.json").exists()


def test_what_is_not_of_one_model_or_no_file_of_units_is_refused(tmp_path):
    source, out = tmp_path / "units.jsonl", tmp_path / "out.jsonl"
    _write(source)
    source.write_text(source.read_text() + _write(tmp_path / "more.jsonl", fingerprint="g").read_text())
    with pytest.raises(UserError, match="one model at a time"):
        write_tokens(source, out, num_merges=1)
    for text, message in (("", "is empty"), ("[]\n", "line 1"), ('{"runs": [9], "num_units": 4}\n', "line 1")):
        source.write_text(text)
        with pytest.raises(UserError, match=message):
            write_tokens(source, out, num_merges=1)
    assert not out.exists() and not (tmp_path / "out.pairs.json").exists()
    with pytest.raises(UserError, match="cannot read"):
        write_tokens(tmp_path / "nowhere.jsonl", out, num_merges=1)
    with pytest.raises(UserError, match=r"ends in '\.txt'"):
        write_tokens(_write(source), tmp_path / "out.txt", num_merges=1)


def test_pairs_of_other_units_are_refused(tmp_path):
    source = _write(tmp_path / "units.jsonl")
    for text, message in ((Pairs(num_units=9).model_dump_json(), "pairs of 9 units"), ("{}", "is not what")):
        (tmp_path / "known.json").write_text(text)
        with pytest.raises(UserError, match=message):
            write_tokens(source, tmp_path / "out.jsonl", num_merges=1, known=tmp_path / "known.json")
