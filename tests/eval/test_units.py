"""Scores of units through files and the command, on speech whose phones are tones."""

import json

import numpy as np
import pytest
import soundfile

from codec.checkpoint.units import save_units
from codec.cli.main import main
from codec.core.errors import UserError
from codec.eval.heard import hear
from codec.eval.phones import read_phones
from codec.eval.units import score_units
from codec.files.speech_entries import speech_entries
from codec.files.unit_lines import write_units
from codec.models.build_units import build_units, parse_units
from codec.train.clusters import draw_latents, find_codebook, set_codebook

PHONES = {"A": 300.0, "B": 900.0, "C": 2400.0, "SIL": 0.0}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Two speakers, one higher than the other, who say tones of 0.1 s in many orders."""
    folder, generator = tmp_path_factory.mktemp("tones"), np.random.default_rng(0)
    manifest, phones = [], []
    for index in range(8):
        turns = np.cumsum(generator.integers(1, 3, 14)) % 3  # never the same phone twice in a row
        names = ["SIL", *("ABC"[turn] for turn in turns), "SIL"]
        pitch = 1 + 0.04 * (index % 2)
        time = np.arange(1600) / 16000
        pieces = [0.3 * np.sin(2 * np.pi * PHONES[name] * pitch * time) for name in names]
        wave = np.concatenate(pieces) + 0.001 * generator.standard_normal(1600 * len(names))
        soundfile.write(folder / f"{index}.wav", wave, 16000)
        manifest.append({"path": f"{index}.wav", "speaker": f"s{index % 2}"})
        times = [[name, 0.1 * at, 0.1 * (at + 1)] for at, name in enumerate(names)]
        phones.append({"path": f"{index}.wav", "phones": times})
    for name, rows in (("manifest", manifest), ("phones", phones)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def model(corpus, tmp_path_factory):
    """k-means on log mels, in a folder."""
    tree = {"kind": "features", "features": {"kind": "log_mel"}, "quantizer": {"kind": "ema", "codebook_size": 8}}
    model = build_units(parse_units(tree)).eval()
    signals = [_read(path) for path in sorted(corpus.glob("*.wav"))]
    set_codebook(model, find_codebook(draw_latents(model, signals), 8))
    folder = tmp_path_factory.mktemp("model")
    save_units(model, folder, name="tones")
    return folder, model


def _read(path):
    from codec.data.audio import read_audio

    return read_audio(path)[0]


def test_units_of_tones_are_their_phones(corpus, model):
    phones = read_phones(corpus / "phones.jsonl")
    scores = score_units(model[1], list(hear(model[1], speech_entries(corpus / "manifest.jsonl"), phones)))
    assert scores.clusters is not None and scores.clusters.accuracy is not None
    assert scores.clusters.accuracy.mean > 0.85
    assert {mode: by_view["latents"].error for mode, by_view in scores.abx.items()} == {"within": 0, "across": 0}
    assert scores.boundaries is not None and scores.boundaries.recall is not None
    assert scores.boundaries.recall.mean > 0.9
    assert set(scores.speakers) == {"features", "latents", "units"} and not scores.missing
    json.dumps(scores.as_dict())


def test_recordings_without_phones_or_names_are_scored_by_what_is_left(corpus, model):
    scores = score_units(model[1], list(hear(model[1], speech_entries(corpus))))
    assert scores.clusters is None and not scores.abx and not scores.speakers
    assert set(scores.missing) == {"phones", "speakers"}
    assert scores.bitrate["runs"].bits_per_second.mean < scores.bitrate["frames"].bits_per_second.mean


def test_no_recordings_cannot_be_scored(model):
    with pytest.raises(UserError, match="no recordings to score"):
        score_units(model[1], [])


def test_one_command_makes_units_of_a_folder(corpus, model, tmp_path):
    assert main(["units", "encode", str(corpus), str(tmp_path / "u.jsonl"), "-m", str(model[0])]) == 0
    lines = [json.loads(line) for line in (tmp_path / "u.jsonl").read_text().splitlines()]
    assert len(lines) == 8
    for line in lines:
        lengths = np.rint(100 * (np.array(line["stops_s"]) - np.array(line["starts_s"]))).astype(int)
        assert np.repeat(line["runs"], lengths).tolist() == line["units"] and len(line["units"]) == 160
        assert all(one != other for one, other in zip(line["runs"], line["runs"][1:], strict=False))


def test_parquet_holds_the_same_as_lines(corpus, model, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    entries = speech_entries(corpus, limit=2)
    for suffix in (".jsonl", ".parquet"):
        write_units(model[1], entries, tmp_path / f"u{suffix}")
    lines = [json.loads(line) for line in (tmp_path / "u.jsonl").read_text().splitlines()]
    assert parquet.read_table(tmp_path / "u.parquet").to_pylist() == lines


def test_a_recording_that_cannot_be_read_is_named_and_the_others_are_written(corpus, model, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "good.wav").write_bytes((corpus / "0.wav").read_bytes())
    (tmp_path / "in" / "bad.wav").write_text("no sound")
    arguments = ["units", "encode", str(tmp_path / "in"), str(tmp_path / "u.jsonl"), "-m", str(model[0])]
    assert main(arguments) == 1
    assert "bad.wav" in capsys.readouterr().err and len((tmp_path / "u.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["encode", "{corpus}", "{tmp}/u.txt", "-m", "{model}"], "written to .jsonl or .parquet"),
        (["encode", "{tmp}", "{tmp}/u.jsonl", "-m", "{model}"], "holds no recordings"),
        (["encode", "{corpus}", "{tmp}/u.jsonl", "-m", "nobody"], "no model 'nobody'"),
        (["encode", "{corpus}", "{tmp}/u.jsonl", "-m", "{model}", "--split", "train"], "has no split"),
        (["eval", "{corpus}/manifest.jsonl", "-m", "{model}", "--phones", "{tmp}/nothing"], "nothing"),
    ],
)
def test_mistakes_are_one_line(arguments, named, corpus, model, tmp_path, capsys):
    places = {"corpus": corpus, "model": model[0], "tmp": tmp_path}
    assert main(["units", *(part.format(**places) for part in arguments)]) == 2
    told = capsys.readouterr().err.strip()
    assert named in told and "\n" not in told and not list(tmp_path.glob("u.*"))


def test_eval_tells_every_figure(corpus, model, tmp_path, capsys):
    arguments = ["units", "eval", str(corpus / "manifest.jsonl"), "-m", str(model[0])]
    assert main([*arguments, "--phones", str(corpus / "phones.jsonl"), "--json", str(tmp_path / "s.json")]) == 0
    told = capsys.readouterr().err
    for word in ("phone accuracy", "NMI", "boundaries", "ABX within", "ABX across", "bit/s", "speaker told by"):
        assert word in told
    assert json.loads((tmp_path / "s.json").read_text())["codebook_size"] == 8
