"""Scores of units through files and the command, on speech whose phones are tones."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import codec.files.unit_lines
from codec.checkpoint.units import save_units
from codec.cli.main import main
from codec.core.errors import UserError
from codec.eval.abx import abx
from codec.eval.abx_items import build_items
from codec.eval.heard import Heard, hear
from codec.eval.phones import Phone, read_phones
from codec.eval.units import score_units
from codec.files.speech_entries import speech_entries, spread
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


def _heard(model, entries, phones=None):
    failures = {}
    heard = list(hear(model[1], entries, phones, failures=failures))
    assert not failures
    return heard


def test_units_of_tones_are_their_phones(corpus, model):
    phones = read_phones(corpus / "phones.jsonl")
    scores = score_units(model[1], _heard(model, speech_entries(corpus / "manifest.jsonl"), phones))
    assert scores.clusters is not None and scores.clusters.accuracy is not None
    assert scores.clusters.accuracy.mean > 0.85
    assert {mode: by_view["latents"].error for mode, by_view in scores.abx.items()} == {"within": 0, "across": 0}
    assert scores.boundaries is not None and scores.boundaries.recall is not None
    assert scores.boundaries.recall.mean > 0.9
    assert set(scores.speakers) == {"features", "latents", "units"} and not scores.missing
    json.dumps(scores.as_dict())


def test_recordings_without_phones_or_names_are_scored_by_what_is_left(corpus, model):
    scores = score_units(model[1], _heard(model, speech_entries(corpus)))
    assert scores.clusters is None and not scores.abx and not scores.speakers
    assert set(scores.missing) == {"phones", "speakers"}
    assert scores.bitrate["runs"].bits_per_second.mean < scores.bitrate["frames"].bits_per_second.mean


def test_abx_is_of_those_whose_speaker_is_named(corpus, model):
    phones = read_phones(corpus / "phones.jsonl")
    named = _heard(model, speech_entries(corpus / "manifest.jsonl"), phones)
    some = [replace(heard, speaker=None) if place > 5 else heard for place, heard in enumerate(named)]
    scores, fewer = score_units(model[1], some), score_units(model[1], named[:6])
    assert scores.abx == fewer.abx and set(scores.abx) == {"within", "across"}
    assert scores.missing == {"abx of some recordings": "2 recordings with phones have no speaker"}


def test_abx_by_divergence_is_of_posteriors(corpus, model, capsys):
    phones = read_phones(corpus / "phones.jsonl")
    heard = _heard(model, speech_entries(corpus / "manifest.jsonl"), phones)
    told = [replace(one, latents=np.exp(one.latents)) for one in heard]
    scores = score_units(model[1], told, distance="kl")
    items = build_items({one.stem: one.phones for one in told}, {one.stem: str(one.speaker) for one in told})
    frames = {one.stem: one.latents for one in told}
    asked = abx(items, frames, frame_rate=model[1].frame_rate, mode="across", distance="kl")
    assert scores.abx["across"]["latents"] == asked and "units" in scores.abx["across"]
    assert "embeddings" not in scores.abx["across"] and "takes posteriors" in scores.missing["abx across"]
    arguments = ["units", "eval", str(corpus / "manifest.jsonl"), "-m", str(model[0]), "--distance", "kl"]
    assert main([*arguments, "--phones", str(corpus / "phones.jsonl")]) == 0
    shown = capsys.readouterr().err
    assert "frames by divergence" in shown and "takes posteriors" in shown


@pytest.mark.parametrize(("speaker", "why"), [(None, "not named"), ("ann", "by one speaker, ann")])
def test_there_is_no_abx_across_one_speaker(corpus, model, speaker, why):
    heard = _heard(model, speech_entries(corpus / "manifest.jsonl"), read_phones(corpus / "phones.jsonl"))
    scores = score_units(model[1], [replace(one, speaker=speaker) for one in heard])
    assert set(scores.abx) == {"within"} and why in scores.missing["abx across"]
    assert "mode=" not in str(scores.missing)


def test_units_that_change_where_no_phone_is_known_are_not_wrong(model):
    units = np.repeat(np.arange(100) % 7, 10)
    phones = tuple(Phone("AB"[turn % 2], 4 + turn / 10, 4.1 + turn / 10) for turn in range(20))
    vectors = np.eye(8)[units]
    boundaries = score_units(model[1], [Heard(Path("x.wav"), "s", 10.0, phones, vectors, vectors, units)]).boundaries
    assert boundaries is not None and boundaries.precision is not None and boundaries.recall is not None
    assert (boundaries.num_found, boundaries.precision.mean, boundaries.recall.mean) == (21, 1, 1)


def test_an_item_file_says_what_abx_compares(corpus, model, tmp_path, capsys):
    """Items of two phones only, by speakers that no manifest names; one of them in a recording that is not there."""
    rows = ["#file onset offset #phone prev-phone next-phone speaker", "gone 0.1 0.4 A B C s0"]
    for index, (_, phones) in enumerate(sorted(read_phones(corpus / "phones.jsonl").items())):
        for before, phone, after in zip(phones, phones[1:], phones[2:], strict=False):
            if phone.name in "AB" and {before.name, after.name} <= {"C"}:
                rows.append(f"{index} {before.start_s} {after.end_s} {phone.name} C C s{index % 2}")
    (tmp_path / "tones.item").write_text("\n".join(rows))
    arguments = ["units", "eval", str(corpus), "-m", str(model[0]), "--json", str(tmp_path / "s.json")]
    assert main([*arguments, "--phones", str(tmp_path / "tones.item")]) == 0
    abx = json.loads((tmp_path / "s.json").read_text())["abx"]
    assert set(abx) == {"within", "across"}
    assert set(abx["within"]["units"]["by_pair"]) == {"A B", "B A"}
    counts = [sum(f" {name} C C s{speaker}" in row for row in rows) for name in "AB" for speaker in (0, 1)]
    a0, a1, b0, b1 = counts
    triples = a0 * (a0 - 1) * b0 + b0 * (b0 - 1) * a0 + a1 * (a1 - 1) * b1 + b1 * (b1 - 1) * a1
    assert abx["within"]["units"]["num_triples"] == triples


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


@pytest.mark.parametrize("rows_at_once", [1, 2, 256])
def test_parquet_holds_the_same_as_lines(corpus, model, tmp_path, monkeypatch, rows_at_once):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(codec.files.unit_lines, "_ROWS_AT_ONCE", rows_at_once)
    entries = spread(speech_entries(corpus), 3)
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


def test_a_recording_that_is_too_short_does_not_end_eval(corpus, model, tmp_path, capsys):
    (tmp_path / "good.wav").write_bytes((corpus / "0.wav").read_bytes())
    soundfile.write(tmp_path / "short.wav", np.zeros(50), 16000)
    (tmp_path / "bad.wav").write_text("no sound")
    arguments = ["units", "eval", str(tmp_path), "-m", str(model[0])]
    assert main(arguments) == 1
    told = capsys.readouterr().err
    assert "on 1 recording " in told and "bad.wav" in told and "short.wav: speech of 50 samples is shorter" in told
    (tmp_path / "good.wav").unlink()
    assert main(arguments) == 2
    assert "no recording could be read; the first" in capsys.readouterr().err


def test_a_recording_that_does_not_fit_into_memory_does_not_end_the_others(corpus, model, tmp_path, monkeypatch):
    sizes, latents = iter(range(3)), model[1].latents

    def full(speech):
        if next(sizes) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return latents(speech)

    monkeypatch.setattr(model[1], "latents", full)
    entries = spread(speech_entries(corpus), 3)
    written = write_units(model[1], entries, tmp_path / "u.jsonl")
    assert written.num_written == 2 and "memory" in written.failures[str(entries[1].path)]


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text elsewhere")
def test_names_of_files_that_are_not_text_are_written_as_far_as_they_are(corpus, model, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / os.fsdecode(b"\xff<b>.wav")).write_bytes((corpus / "0.wav").read_bytes())
    assert main(["units", "encode", str(folder), str(tmp_path / "u.parquet"), "-m", str(model[0])]) == 0
    assert parquet.read_table(tmp_path / "u.parquet")["path"].to_pylist() == [f"{folder}/\\udcff<b>.wav"]
    assert main(["units", "eval", str(folder), "-m", str(model[0]), "--html", str(tmp_path / "u.html")]) == 0
    assert "\\udcff&lt;b&gt;" in (tmp_path / "u.html").read_text(encoding="utf-8")


def test_two_recordings_of_one_name_do_not_share_phones(corpus, model, tmp_path, capsys):
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "0.wav").write_bytes((corpus / "0.wav").read_bytes())
    arguments = ["units", "eval", str(tmp_path), "-m", str(model[0]), "--phones", str(corpus / "phones.jsonl")]
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert f"{tmp_path / 'a' / '0.wav'} and {tmp_path / 'b' / '0.wav'}" in told and "rename" in told


def test_recordings_without_phone_times_are_left_out_and_counted(corpus, model, tmp_path, capsys):
    for name in ("0", "other", "another"):
        (tmp_path / f"{name}.wav").write_bytes((corpus / "0.wav").read_bytes())
    arguments = ["units", "eval", str(tmp_path), "-m", str(model[0])]
    assert main([*arguments, "--phones", str(corpus / "phones.jsonl")]) == 0
    told = capsys.readouterr().err
    assert "left out: 2 recordings without phone times" in told and "on 1 recording " in told
    assert main(arguments) == 0
    assert "left out" not in capsys.readouterr().err


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
