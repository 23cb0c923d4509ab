"""`codec encode`, `decode` and `tokenize` of folders, as a person runs them."""

from __future__ import annotations

import json
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

from codec.checkpoint import list_models
from codec.cli import main
from tests.conftest import REPOSITORY
from tests.files.trees import recordings

PAGE = (REPOSITORY / "docs" / "tokens.md").read_text(encoding="utf-8")


def test_a_folder_goes_there_and_back(here: Path, audio_model: str, capsys: pytest.CaptureFixture[str]) -> None:
    source = recordings(here / "in", 3)
    (source / "broken.wav").unlink()
    assert main(["encode", "in", "coded", "-m", audio_model, "--bitrate", "5k", "--jobs", "2"]) == 0
    assert main(["encode", "in", "coded", "-m", audio_model, "--bitrate", "5000"]) == 0
    assert main(["decode", "coded", "back", "-m", audio_model, "--format", "flac"]) == 0
    for path in source.rglob("*.wav"):
        original, back = (
            soundfile.info(path),
            soundfile.info(here / "back" / path.relative_to(source).with_suffix(".flac")),
        )
        assert (original.frames, original.channels) == (back.frames, back.channels)
    said = capsys.readouterr().err
    assert "in -> coded: 3 of 3 files:" in said
    assert "in -> coded: 0 of 3 files, 3 were done before" in said
    assert not (here / "coded" / "failures.jsonl").exists()


def test_a_failure_is_told_in_a_line_and_by_the_exit_code(
    here: Path, audio_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recordings(here / "in", 2)
    assert main(["encode", "in", "coded", "-m", audio_model]) == 1
    assert "1 of 3 files failed: coded/failures.jsonl says why" in capsys.readouterr().err
    assert "broken.wav" in (here / "coded" / "failures.jsonl").read_text()


def test_files_of_sources_that_have_changed_are_told_of(
    here: Path, audio_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("in").mkdir()
    for name in ("x.wav", "y.wav"):
        Path("in", name).write_bytes(Path("speech.wav").read_bytes())
    assert main(["encode", "in", "coded", "-m", audio_model, "--jobs", "1"]) == 0
    Path("in", "y.wav").rename("in/x.aiff")
    assert main(["encode", "in", "coded", "-m", audio_model, "--jobs", "1"]) == 0
    said = capsys.readouterr().err
    assert "removed 1 file of earlier runs" in said
    assert "coded still has 1 file of sources that are gone, such as y.vqc" in said


def test_tokens_come_back_as_sound_by_number_and_by_path(here: Path, audio_model: str) -> None:
    recordings(here / "in", 3)
    assert main(["tokenize", "in", "tokens", "-m", audio_model, "--num-active", "1", "--shard-size", "2"]) == 1
    assert main(["detokenize", "tokens", "1" * 5000, "no.wav", "-m", audio_model]) == 2
    assert main(["detokenize", "tokens", "1", "one.wav", "-m", audio_model]) == 0
    assert main(["detokenize", "tokens", "a/002.wav", "two.wav", "-m", audio_model]) == 0
    one, two = (soundfile.read(name)[0] for name in ("one.wav", "two.wav"))
    np.testing.assert_array_equal(one, two)
    assert len(one) == soundfile.info("in/a/002.wav").frames


@pytest.mark.skipif("speech-16k" not in {card.name for card in list_models()}, reason="the model is not there yet")
def test_the_page_about_tokens_runs_as_written(here: Path) -> None:
    for name in ("corpus", "my-recordings"):
        (recordings(here / name, 3) / "broken.wav").unlink()
    lines = [json.dumps({"path": f"a/00{index}.wav", "speaker": "s"}) for index in (1, 2)]
    (here / "corpus" / "manifest.jsonl").write_text("\n".join(lines))
    for command in re.findall(r"^codec (.*)$", PAGE, flags=re.MULTILINE):
        assert main(shlex.split(command)) == 0, command
    for snippet in re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL):
        if "import load_dataset" not in snippet or find_spec("datasets"):
            exec(snippet, {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["encode", "speech.wav", "x.vqc", "--jobs", "2"], "--jobs is for folders"),
        (["encode", "empty", "out"], "nothing to encode"),
        (["encode", "speech.wav", "x.vqc", "--bitrate", "fast"], "such as 3000, 3k or 0.75k"),
        (["encode", "empty", "out", "--bitrate", "3k", "--num-active", "1"], "leave one out"),
        (["tokenize", "empty", "out"], "nothing to tokenize"),
        (["tokenize", "nowhere", "out"], "cannot read manifest"),
    ],
)
def test_mistakes_are_one_line(
    here: Path, audio_model: str, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (here / "empty").mkdir()
    assert main([*arguments, "-m", audio_model]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (here / "out").exists()
