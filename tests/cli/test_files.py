"""Files go through `codec encode`, `decode` and `info` and come back with their own size."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from codec.cli import main
from tests.cli.conftest import run_codec


def test_a_recording_comes_back_with_its_own_rate_length_and_channels(here: Path, audio_model: str) -> None:
    assert main(["encode", "speech.wav", "speech.vqc", "--model", audio_model, "--device", "cpu"]) == 0
    assert main(["decode", "speech.vqc", "back.flac", "--model", audio_model, "--device", "cpu"]) == 0
    original, decoded = soundfile.info("speech.wav"), soundfile.info("back.flac")
    assert (decoded.frames, decoded.samplerate, decoded.channels) == (2401, 8000, 2)
    assert (decoded.frames, decoded.samplerate, decoded.channels) == (
        original.frames,
        original.samplerate,
        original.channels,
    )


def test_a_picture_comes_back_with_its_own_size(here: Path, image_model: str) -> None:
    assert main(["encode", "photo.png", "photo.vqc", "-m", image_model]) == 0
    assert main(["decode", "photo.vqc", "back.png", "-m", image_model]) == 0
    assert Image.open("back.png").size == (23, 17)


def test_what_is_said_about_a_file_goes_to_stderr(
    here: Path, audio_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["encode", "speech.wav", "speech.vqc", "-m", audio_model])
    said = capsys.readouterr()
    assert said.out == ""
    assert "speech.wav -> speech.vqc" in said.err
    assert f"{Path('speech.vqc').stat().st_size} bytes" in said.err


def test_mono_mixes_the_channels_down(here: Path, audio_model: str) -> None:
    main(["encode", "speech.wav", "speech.vqc", "-m", audio_model, "--mono"])
    main(["decode", "speech.vqc", "back.wav", "-m", audio_model])
    assert soundfile.info("back.wav").channels == 1


def test_fewer_active_codebooks_make_a_smaller_file(here: Path, audio_model: str) -> None:
    main(["encode", "speech.wav", "both.vqc", "-m", audio_model])
    main(["encode", "speech.wav", "one.vqc", "-m", audio_model, "--num-active", "1"])
    assert Path("one.vqc").stat().st_size < Path("both.vqc").stat().st_size


def test_model_rate_keeps_sound_at_the_rate_of_the_model(here: Path, audio_model: str) -> None:
    main(["encode", "speech.wav", "speech.vqc", "-m", audio_model])
    main(["decode", "speech.vqc", "back.wav", "-m", audio_model, "--model-rate"])
    assert soundfile.info("back.wav").samplerate == 16000


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--start", "0.1"], slice(800, 2401)),
        (["--duration", "0.05"], slice(0, 400)),
        (["--start", "0.1", "--duration", "0.05"], slice(800, 1200)),
        (["--start", "0.3", "--duration", "9"], slice(2400, 2401)),
    ],
)
def test_a_part_is_that_slice_of_the_whole(here: Path, audio_model: str, options: list[str], part: slice) -> None:
    main(["encode", "speech.wav", "speech.vqc", "-m", audio_model])
    main(["decode", "speech.vqc", "whole.wav", "-m", audio_model])
    assert main(["decode", "speech.vqc", "part.wav", "-m", audio_model, *options]) == 0
    np.testing.assert_array_equal(soundfile.read("part.wav")[0], soundfile.read("whole.wav")[0][part])


@pytest.mark.parametrize(
    ("source", "options", "complaint"),
    [
        ("speech.wav", ["--start", "0.5"], "speech.vqc has 0.30 s: cannot start at 0.5 s"),
        ("speech.wav", ["--start", "-1"], "cannot start at -1 s"),
        ("speech.wav", ["--start", "nan"], "cannot start at nan s"),
        ("speech.wav", ["--duration", "0"], "take more than 0"),
        ("photo.png", ["--start", "1"], "speech.vqc is a picture: it has no seconds"),
        ("photo.png", ["--duration", "1"], "speech.vqc is a picture: it has no seconds"),
    ],
)
def test_a_part_that_is_not_there_is_refused(
    here: Path,
    audio_model: str,
    image_model: str,
    capsys: pytest.CaptureFixture[str],
    source: str,
    options: list[str],
    complaint: str,
) -> None:
    model = audio_model if source == "speech.wav" else image_model
    main(["encode", source, "speech.vqc", "-m", model])
    capsys.readouterr()
    assert main(["decode", "speech.vqc", "part.wav", "-m", model, *options]) == 2
    said = capsys.readouterr().err
    assert complaint in said and said.count("\n") == 1 and not Path("part.wav").exists()


@pytest.mark.parametrize("name", [".jpg", "jpg"])
def test_format_decides_where_the_name_does_not(here: Path, image_model: str, name: str) -> None:
    main(["encode", "photo.png", "photo.vqc", "-m", image_model])
    assert main(["decode", "photo.vqc", "back", "-m", image_model, "--format", name]) == 0
    assert Image.open("back").format == "JPEG"


def test_pipes_carry_the_same_bytes_as_files(here: Path, audio_model: str) -> None:
    main(["encode", "speech.wav", "speech.vqc", "-m", audio_model, "--device", "cpu"])
    main(["decode", "speech.vqc", "back.wav", "-m", audio_model, "--device", "cpu"])
    sound = Path("speech.wav").read_bytes()
    coded = run_codec("encode", "-", "-", "-m", audio_model, "--device", "cpu", stdin=sound)
    assert coded.returncode == 0, coded.stderr
    assert coded.stdout == Path("speech.vqc").read_bytes()
    decoded = run_codec("decode", "-", "-", "-m", audio_model, "--device", "cpu", stdin=coded.stdout)
    assert decoded.returncode == 0, decoded.stderr
    piped, _ = soundfile.read(io.BytesIO(decoded.stdout))
    np.testing.assert_array_equal(piped, soundfile.read("back.wav")[0])


def test_info_in_words_and_as_json_agree(here: Path, image_model: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["encode", "photo.png", "photo.vqc", "-m", image_model])
    capsys.readouterr()
    assert main(["info", "photo.vqc"]) == 0
    words = capsys.readouterr().out
    assert main(["info", "photo.vqc", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["width"], facts["height"], facts["intact"]) == (23, 17, True)
    assert "23 x 17 pixels\n" in words and facts["fingerprint"] in words and "every checksum agrees" in words


def test_info_tells_what_kind_of_picture_it_was(
    here: Path, image_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.open("photo.png").convert("LA").save("clear.png")
    Image.fromarray(np.full((5, 7), 40000, dtype=np.uint16)).save("deep.png")
    for name, words in (
        ("clear.png", "23 x 17 pixels, grey, with transparency\n"),
        ("deep.png", "7 x 5 pixels, grey, from 16 bits per channel\n"),
    ):
        main(["encode", name, "photo.vqc", "-m", image_model])
        capsys.readouterr()
        assert main(["info", "photo.vqc"]) == 0
        assert words in capsys.readouterr().out


def test_damage_is_named_by_info_refused_by_decode_and_skipped_when_asked(
    here: Path, audio_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["encode", "speech.wav", "speech.vqc", "-m", audio_model])
    coded = bytearray(Path("speech.vqc").read_bytes())
    coded[-6] ^= 0xFF  # inside the last chunk, before its four bytes of checksum
    Path("damaged.vqc").write_bytes(coded)
    capsys.readouterr()

    assert main(["info", "damaged.vqc"]) == 1
    assert "damaged" in capsys.readouterr().out
    assert main(["decode", "damaged.vqc", "back.wav", "-m", audio_model]) == 2
    assert not Path("back.wav").exists()
    assert main(["decode", "damaged.vqc", "back.wav", "-m", audio_model, "--skip-damaged"]) == 0
    assert "damaged: " in capsys.readouterr().err
    assert soundfile.info("back.wav").frames == 2401
