"""A person's mistake is one line on stderr and exit code 2; a bug keeps its traceback."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from codec.cli import main
from codec.core.atomic import atomic_path
from tests.cli.conftest import run_codec

MISTAKES = {
    "no such verb": ["fnord"],
    "no such option": ["encode", "--fnord"],
    "an argument is missing": ["encode", "speech.wav"],
    "a required option is missing": ["encode", "speech.wav", "out.vqc"],
    "a number is not a number": ["encode", "speech.wav", "out.vqc", "-m", "MODEL", "--num-active", "few"],
    "too many codebooks": ["encode", "speech.wav", "out.vqc", "-m", "MODEL", "--num-active", "99"],
    "no such input": ["encode", "absent.wav", "out.vqc", "-m", "MODEL"],
    "input is a folder of nothing": ["encode", "nothing", "out", "-m", "MODEL"],
    "nothing coded in the folder": ["decode", ".", "out"],
    "a part of a folder": ["decode", ".", "out", "--start", "0"],
    "so many seconds of a folder": ["decode", ".", "out", "--duration", "1"],
    "processes for a file": ["decode", "speech.wav", "out.wav", "--jobs", "2"],
    "asking about a folder": ["info", "."],
    "input is text": ["encode", "text.wav", "out.vqc", "-m", "MODEL"],
    "input is empty": ["encode", "empty.wav", "out.vqc", "-m", "MODEL"],
    "no such model": ["encode", "speech.wav", "out.vqc", "-m", "absent"],
    "a picture for a model of sound": ["encode", "photo.png", "out.vqc", "-m", "MODEL"],
    "no such device": ["encode", "speech.wav", "out.vqc", "-m", "MODEL", "--device", "abacus"],
    "input has too long a name": ["encode", "x" * 300, "out.vqc", "-m", "MODEL"],
    "output has too long a name": ["encode", "speech.wav", "x" * 300, "-m", "MODEL"],
    "model has too long a name": ["encode", "speech.wav", "out.vqc", "-m", "x" * 300],
    "output is a folder": ["encode", "speech.wav", ".", "-m", "MODEL"],
    "output is named like a folder": ["encode", "speech.wav", "absent/", "-m", "MODEL"],
    "output folder is a file": ["encode", "speech.wav", "text.wav/out.vqc", "-m", "MODEL"],
    "decoding what is not coded": ["decode", "speech.wav", "out.wav", "-m", "MODEL"],
    "asking about what is not coded": ["info", "speech.wav"],
    "no such recipe": ["train", "fnord"],
    "no such preset": ["train", "vqvae_speech", "--config", "fnord.yaml"],
    "an override without a value": ["train", "vqvae_speech", "loop.steps"],
    "an override nobody knows": ["train", "vqvae_speech", "loop.fnord=1"],
    "no preset to start from": ["train", "vqvae2_image", "data.train=text.wav"],
    "nothing to resume": ["train", "vqvae_speech", "--run", "runs/absent", "--resume"],
    "copying no recipe": ["recipes", "copy", "fnord"],
    "copying over something": ["recipes", "copy", "vqvae_speech", "."],
    "no such manifest": ["eval", "MODEL", "absent.jsonl", "--json", "out.json"],
    "the report would replace the manifest": ["eval", "MODEL", "text.wav", "--json", "text.wav"],
    "the report is a folder": ["eval", "MODEL", "text.wav", "--json", "."],
    "no such file to show": ["demo", "absent.wav"],
    "no such corpus": ["prep", "fnord", ".", "out"],
    "no such source": ["prep", "folder", "absent", "out"],
    "nothing in the source": ["prep", "folder", "nothing", "out"],
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(
    case: str, here: Path, audio_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("text.wav").write_text("this is no sound\n")
    Path("empty.wav").touch()
    Path("nothing").mkdir()
    before = sorted(here.rglob("*"))
    arguments = [audio_model if argument == "MODEL" else argument for argument in MISTAKES[case]]
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("codec: ") and said.err.count("\n") == 1, said.err
    assert sorted(here.rglob("*")) == before, "a mistake leaves no file behind"


def test_no_arguments_print_the_help() -> None:
    result = run_codec()
    assert b"encode" in result.stdout and b"Traceback" not in result.stderr


def test_a_bug_keeps_its_traceback(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr("codec.files.read_info", broken)
    with pytest.raises(ZeroDivisionError):
        main(["info", "speech.wav"])


def test_an_interrupt_exits_with_130(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr("codec.files.read_info", interrupted)
    assert main(["info", "speech.wav"]) == 130
    assert capsys.readouterr().err == "codec: interrupted\n"


def test_termination_leaves_no_half_written_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def terminated(_: object) -> object:
        with atomic_path(here / "out.vqc") as temporary:
            assert temporary.exists()
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("codec.files.read_info", terminated)
    before, handler = sorted(here.iterdir()), signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit, match="143"):
        main(["info", "speech.wav"])
    assert sorted(here.iterdir()) == before
    assert signal.getsignal(signal.SIGTERM) == handler


def test_a_full_disk_is_one_line(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: object) -> object:
        raise OSError(28, "No space left on device", "out.vqc")

    monkeypatch.setattr("codec.files.read_info", full)
    assert main(["info", "speech.wav"]) == 2
    assert capsys.readouterr().err == "codec: out.vqc: No space left on device\n"
