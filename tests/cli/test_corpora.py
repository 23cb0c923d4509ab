"""`codec prep` and `codec eval`: from a folder of files to a report about a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codec.cli import main
from codec.data.manifest import read_manifest
from tests.cli.conftest import run_codec


@pytest.fixture
def corpus(here: Path) -> Path:
    """A folder of pictures, one of them broken."""
    folder = here / "pictures"
    folder.mkdir()
    for name in ("one.png", "two.png"):
        (folder / name).write_bytes((here / "photo.png").read_bytes())
    (folder / "broken.png").write_bytes(b"not a picture")
    return folder


def test_prep_writes_a_manifest_and_lists_what_it_skipped(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prep", "folder", "pictures", "out"]) == 0
    said = capsys.readouterr().err
    assert "out/manifest.jsonl: " in said and "out/manifest.skipped.jsonl: 1 skipped" in said
    assert sorted(entry.path.name for entry in read_manifest("out/manifest.jsonl")) == ["one.png", "two.png"]


def test_prep_asks_a_folder_who_speaks_and_what_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "voices" / "ann").mkdir(parents=True)
    (here / "voices" / "ann" / "hello.wav").write_bytes((here / "speech.wav").read_bytes())
    (here / "voices" / "ann" / "hello.txt").write_text("hello")
    assert main(["prep", "folder", "voices", "out", "--speakers", "--transcripts"]) == 0
    said = capsys.readouterr().err
    assert "1 recording with a speaker" in said and "1 recording with a transcript" in said
    (entry,) = read_manifest("out/manifest.jsonl")
    assert (entry.speaker, entry.model_dump()["transcript"]) == ("ann", "hello")
    assert main(["prep", "vctk", "voices", "out", "--speakers"]) == 2
    assert "vctk has no option speakers: leave it out" in capsys.readouterr().err


def test_prep_finds_the_preparations_from_any_folder(corpus: Path) -> None:
    result = run_codec("prep", "folder", "pictures", "out")
    assert result.returncode == 0, result.stderr


def test_eval_writes_what_it_prints(corpus: Path, image_model: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["prep", "folder", "pictures", "out"])
    capsys.readouterr()
    assert main(["eval", image_model, "out/manifest.jsonl", "--json", "quality.json"]) == 0
    assert "tiny-image on 2 items" in capsys.readouterr().out
    assert main(["eval", image_model, "out/manifest.jsonl", "--json", "-", "--limit", "1"]) == 0
    printed = json.loads(capsys.readouterr().out)
    written = json.loads(Path("quality.json").read_text())
    assert (written["summary"]["items"], printed["summary"]["items"]) == (2, 1)
    assert written["fingerprint"] == printed["fingerprint"]
