import json
import math
from pathlib import Path

import pytest
import torch

from codec.core.errors import UserError
from codec.data.audio import write_audio
from codec.data.image import write_image
from codec.data.manifest import Entry, write_manifest
from codec.eval import RivalFailure, code_item, evaluate, evaluation_table, items, reconstruction, select
from codec.eval.codes import CodeCounter, stored_codes
from codec.files import encode_file
from codec.metrics import Score
from codec.models.base import CodeGrid
from codec.models.tiny import tiny_model
from tests.eval.corpus import stereo, write_pictures, write_recordings
from tests.metrics.test_image import picture


@pytest.fixture(scope="module")
def audio_report(tmp_path_factory):
    manifest = write_recordings(tmp_path_factory.mktemp("speech"))
    return evaluate(tiny_model("audio"), manifest), manifest


def test_the_report_is_json_that_means_the_same_when_read_back(audio_report):
    report, _ = audio_report
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_the_bitrate_is_all_bits_over_all_seconds(audio_report):
    report, _ = audio_report
    rows = report["items"]
    expected = 8 * sum(row["bytes"] for row in rows) / sum(row["duration_s"] for row in rows)
    assert report["summary"]["bitrate_bps"] == pytest.approx(expected)
    assert report["summary"]["duration_s"] == pytest.approx(0.5 + 0.8 + 1.1)


def test_bytes_are_those_of_the_file_that_the_codec_writes(audio_report, tmp_path):
    report, manifest = audio_report
    first = Path(report["items"][0]["path"])
    encode_file(first, tmp_path / "again.vqc", tiny_model("audio"))
    assert first.parent == manifest.parent
    assert report["items"][0]["bytes"] == (tmp_path / "again.vqc").stat().st_size


def test_every_mean_lies_in_its_interval(audio_report):
    report, _ = audio_report
    found = [interval for interval in report["summary"]["scores"].values() if interval]
    assert found
    for interval in found:
        assert interval["low"] <= interval["mean"] <= interval["high"]
    assert report["summary"]["scores"]["mel_distance"]["count"] == 3


def test_usage_counts_every_code_of_every_item(audio_report):
    report, _ = audio_report
    samples = [round(row["duration_s"] * 16000) for row in report["items"]]
    assert [book["codes"] for book in report["codebooks"]] == [sum(-(-n // 16) for n in samples)] * 2


def test_fewer_codebooks_take_fewer_bits_and_say_so(audio_report):
    report, manifest = audio_report
    fewer = evaluate(tiny_model("audio"), manifest, num_active=1)
    assert fewer["summary"]["bytes"] < report["summary"]["bytes"]
    assert fewer["items"][0]["setting"] == "1 codebook" and len(fewer["codebooks"]) == 1


def test_split_and_limit_choose_items(audio_report):
    _, manifest = audio_report
    model, seen = tiny_model("audio"), []
    chosen = select(manifest, model, split="test")
    report = evaluate(model, chosen, progress=lambda done, total: seen.append((done, total)))
    assert [Path(row["path"]).name for row in report["items"]] == ["speech-2.wav"]
    assert report["splits"] == {"test": 1} and seen == [(1, 1)]
    spread = select(manifest, model, split=["train", "test"], limit=2)
    assert [entry.path.name for entry in spread] == ["speech-0.wav", "speech-1.wav"]
    assert [entry.path.name for entry in select(spread, model, split="train", limit=9)] == [
        "speech-0.wav",
        "speech-1.wav",
    ]
    with pytest.raises(UserError, match="limit is 0"):
        select(manifest, model, limit=0)


def test_pictures_are_measured_in_bits_per_pixel_beside_their_rivals(tmp_path):
    report = evaluate(tiny_model("image"), write_pictures(tmp_path), rivals=True)
    total = sum(row["bytes"] for row in report["items"] if row["codec"] == "tiny-image")
    assert report["summary"]["bits_per_pixel"] == pytest.approx(8 * total / (2 * 96 * 88))
    assert report["summary"]["scores"]["ms_ssim"] is None  # too small for five scales: said, not crashed
    assert "176 pixels" in report["items"][0]["notes"]["ms_ssim"]
    assert "JPEG" in report["rivals"] and report["rivals"]["JPEG"]["items"] == 2
    table = evaluation_table(report)
    assert [str(cell) for cell in table.columns[0].cells][:2] == ["tiny-image", "JPEG"]


def test_a_report_about_pictures_is_a_curve_of_one_point(tmp_path):
    report = evaluate(tiny_model("image"), write_pictures(tmp_path))
    summary, results = report["summary"], report["results"]
    assert report["name"] == "tiny-image" and "2 pictures" in report["description"]
    assert results["bpp"] == [summary["mean_bits_per_pixel"]] and results["bpp-corpus"] == [summary["bits_per_pixel"]]
    assert results["psnr-rgb"] == [summary["scores"]["psnr"]["mean"]] and results["ms-ssim-rgb"] == [None]
    assert results["encoding_time"] == [pytest.approx(summary["encode_s"] / 2)]


def test_mean_and_corpus_rates_differ_where_sizes_do(tmp_path):
    entries = []
    for height, width in ((16, 16), (160, 200)):
        write_image(path := tmp_path / f"{height}.png", picture(height, width))
        entries.append(Entry(path=path, kind="image"))
    write_manifest(tmp_path / "manifest.jsonl", entries)
    report = evaluate(tiny_model("image"), tmp_path / "manifest.jsonl")
    small, large = ((row["bytes"], row["height"] * row["width"]) for row in report["items"])
    expected = (8 * small[0] / small[1] + 8 * large[0] / large[1]) / 2
    assert report["summary"]["mean_bits_per_pixel"] == pytest.approx(expected)
    assert report["summary"]["bits_per_pixel"] == pytest.approx(8 * (small[0] + large[0]) / (small[1] + large[1]))


def test_a_broken_item_is_listed_and_the_others_are_measured(tmp_path):
    manifest = write_recordings(tmp_path)
    (tmp_path / "speech-1.wav").write_text("not sound")
    report = evaluate(tiny_model("audio"), manifest)
    assert [Path(failure["path"]).name for failure in report["failed"]] == ["speech-1.wav"]
    assert "not audio" in report["failed"][0]["reason"] and report["summary"]["items"] == 2


def test_a_rival_that_fails_is_listed_and_the_evaluation_goes_on(tmp_path, monkeypatch):
    failure = RivalFailure("Opus", "opusenc failed: exit code 1")
    monkeypatch.setattr(reconstruction, "rival_items", lambda item, folder, **options: [failure])
    model = tiny_model("audio")
    report = evaluate(model, select(write_recordings(tmp_path), model, limit=1), rivals=True)
    assert report["failed"] == [{"path": report["items"][0]["path"], "codec": "Opus", "reason": failure.reason}]
    assert report["rivals"] == {} and report["summary"]["items"] == 1
    assert "Opus failed on 1 item" in str(evaluation_table(report).caption)


def test_perfect_scores_are_counted_beside_the_mean_of_the_others(tmp_path, monkeypatch):
    scores = iter([Score(math.inf), Score(30.0), Score(math.inf), Score(40.0)])
    monkeypatch.setattr(items, "score_image", lambda *signals: {"psnr": next(scores)})
    report = evaluate(tiny_model("image"), write_pictures(tmp_path, 4))
    found = report["summary"]["scores"]["psnr"]
    assert (found["mean"], found["count"], found["perfect"]) == (35.0, 2, 2)
    assert [row["notes"] for row in report["items"]] == [{"psnr": "perfect"}, {}] * 2
    (cell,) = (str(cell) for cell in evaluation_table(report).columns[2].cells)
    assert cell.startswith("35.00") and cell.endswith("2 perfect")
    monkeypatch.setattr(items, "score_image", lambda *signals: {"psnr": Score(math.inf)})
    model = tiny_model("image")
    report = evaluate(model, select(tmp_path / "manifest.jsonl", model, limit=1))
    assert report["summary"]["scores"]["psnr"]["mean"] is None
    assert [str(cell) for cell in evaluation_table(report).columns[2].cells] == ["1 perfect"]


def test_more_codebooks_than_there_are_is_refused_once_and_before_anything_is_read(tmp_path):
    with pytest.raises(UserError, match="99 codebooks were asked for; tiny-audio has 1 to 2") as caught:
        evaluate(tiny_model("audio"), tmp_path / "not there.jsonl", num_active=99)
    assert "items" not in str(caught.value)


def test_a_manifest_without_anything_for_the_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="no audio entries for tiny-audio"):
        evaluate(tiny_model("audio"), write_pictures(tmp_path))


def test_stored_codes_are_the_codes_of_the_model(tmp_path):
    model, signal = tiny_model("audio"), stereo(0.6, 16000)
    write_audio(tmp_path / "in.wav", signal, 16000, subtype="FLOAT")
    encode_file(tmp_path / "in.wav", tmp_path / "out.vqc", model)
    (expected,), (stored,) = model.encode(signal[:, None]), stored_codes(tmp_path / "out.vqc", model)
    assert torch.equal(stored, expected)


def test_a_source_beside_its_own_files_is_not_overwritten(tmp_path):
    """A decoded file of the source's name once replaced the source, and the score was perfect."""
    manifest = write_recordings(tmp_path)
    before = (tmp_path / "speech-0.wav").read_bytes()
    item = code_item(tmp_path / "speech-0.wav", tiny_model("audio"), manifest.parent)
    assert (tmp_path / "speech-0.wav").read_bytes() == before
    assert not torch.equal(item.reference, item.estimate)


def test_even_use_has_the_perplexity_of_its_size():
    counter = CodeCounter([CodeGrid(num_codebooks=2, codebook_size=8, downsample_factor=1)])
    counter.add([torch.arange(4).repeat(5)[None, None]])  # four of eight codes, evenly; the second codebook idle
    (row,) = counter.table()
    assert (row["usage"], row["codes"]) == (0.5, 20)
    assert row["perplexity"] == pytest.approx(4) and row["entropy_bits"] == pytest.approx(2)


def test_a_score_that_reads_high_says_so_below_the_table():
    row = {"scores": {"visqol": 3.1, "pesq": None}, "notes": {"visqol": "reads high", "pesq": "too short"}}
    summary = {
        "items": 1,
        "scores": {"visqol": {"mean": 3.1, "low": 3.0, "high": 3.2, "perfect": 0, "count": 2}},
        "bitrate_bps": 1000.0,
        "encode_times_real_time": 1.0,
        "decode_times_real_time": 1.0,
    }
    report = {
        "media": "audio",
        "model": "m",
        "summary": summary,
        "rivals": {},
        "frechet_distance": None,
        "codebooks": [],
        "failed": [],
        "items": [row, row],
    }
    caption = str(evaluation_table(report).caption)
    assert "ViSQOL: reads high" in caption and "too short" not in caption
