import json

import pytest
import torch

from codec.checkpoint import load_model
from codec.core.errors import UserError
from codec.data.image import write_image
from codec.data.manifest import Entry, write_manifest
from codec.eval import (
    Curve,
    RivalFailure,
    RivalResult,
    curve_rows,
    curve_tables,
    evaluate,
    parse_rates,
    picture_codecs,
    rate_distortion,
    select,
    speech_codecs,
    sweep,
)
from codec.eval.sweep import compare, rival_curves
from codec.models.tiny import tiny_model
from tests.conftest import SHARED
from tests.eval.corpus import quick_codecs, write_pictures, write_recordings
from tests.metrics.test_image import picture

# Kodak, mean over 24 pictures: bits per pixel -> dB, measured with other code on another day
KODAK = {
    "JPEG": {0.256: 26.67, 0.533: 29.89, 0.869: 32.17},
    "WebP": {0.155: 26.98, 0.377: 30.19, 0.673: 33.01},
    "AVIF": {0.162: 28.11, 0.308: 30.41, 0.602: 33.40},
}
LADDER = (1, 10, 30, 80)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A report with rivals on two pictures, one of them large enough for MS-SSIM, and its progress."""
    folder, seen = tmp_path_factory.mktemp("pictures"), []
    entries = []
    for index, (height, width) in enumerate(((176, 192), (160, 170))):
        noise = torch.randn(3, height, width, generator=torch.Generator().manual_seed(index))
        write_image(path := folder / f"{index}.png", picture(height, width, seed=index) + 0.05 * noise)
        entries.append(Entry(path=path, kind="image"))
    write_manifest(folder / "manifest.jsonl", entries)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(picture_codecs, "PICTURE_CODECS", quick_codecs(*LADDER))
        report = rate_distortion(
            tiny_model("image"),
            folder / "manifest.jsonl",
            rivals=True,
            progress=lambda done, total: seen.append((done, total)),
        )
    return report, seen, folder / "manifest.jsonl"


def test_the_report_is_json_that_means_the_same_when_read_back(swept):
    report, _, _ = swept
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_every_rate_is_what_evaluation_says_of_it(swept):
    report, _, manifest = swept
    assert report["results"]["num_active"] == list(tiny_model("image").rates) == [1, 2]
    for number, found, rate in zip((1, 2), report["rates"], report["results"]["bpp"], strict=True):
        alone = evaluate(tiny_model("image"), manifest, num_active=number)
        assert [row["bytes"] for row in found["items"]] == [row["bytes"] for row in alone["items"]]
        assert found["codebooks"] == alone["codebooks"] and len(found["codebooks"]) == number
        assert rate == alone["results"]["bpp"][0]
    assert report["results"]["bpp"][0] < report["results"]["bpp"][1]


def test_progress_counts_every_rate_and_the_rivals(swept):
    assert swept[1] == [(done, 6) for done in range(1, 7)]


def test_a_rival_has_a_point_for_each_of_its_qualities_and_their_mean_over_pictures(swept):
    report, _, _ = swept
    (jpeg,) = (rival for rival in report["rivals"] if rival["name"] == "JPEG")
    assert len(jpeg["results"]["bpp"]) == len(LADDER) and [rival["name"] for rival in report["rivals"]] == [
        "JPEG",
        "WebP",
    ]
    rows = [row for row in report["rival_items"] if (row["codec"], row["setting"]) == ("JPEG", "quality 30")]
    at = LADDER.index(30)
    assert jpeg["results"]["bpp"][at] == pytest.approx(sum(row["bits_per_pixel"] for row in rows) / 2)
    assert jpeg["results"]["psnr-rgb"][at] == pytest.approx(sum(row["scores"]["psnr"] for row in rows) / 2)


def test_rivals_are_compared_at_exactly_our_rate(swept):
    report, _, _ = swept
    (jpeg,) = (rival for rival in report["rivals"] if rival["name"] == "JPEG")
    found, ours = report["comparison"]["JPEG"]["psnr-rgb"], report["results"]
    for index, rate in enumerate(ours["bpp"]):
        theirs = Curve.of(jpeg, "psnr-rgb").at(rate)
        assert theirs is not None
        assert found["difference"][index] == pytest.approx(ours["psnr-rgb"][index] - theirs)
    assert report["comparison"]["JPEG"]["ms-ssim-rgb"]["by_picture"][0]["count"] == 1  # the other has none
    assert found["by_picture"][0]["count"] == 2


def made(name, points):
    """A record of (rate, dB) points whose similarities follow the dB."""
    rates, qualities = zip(*points, strict=True)
    similarities = [1 - 10 ** (-quality / 20) for quality in qualities]
    scores = {"psnr-rgb": list(qualities), "ms-ssim-rgb": similarities, "ssim-rgb": similarities}
    return {"name": name, "description": "", "media": "image", "results": {"bpp": list(rates), **scores}}


def row(path, rate, quality, codec="ours"):
    scores = {"psnr": quality, "ms_ssim": 0.9, "ssim": 0.9}
    return {"path": path, "codec": codec, "bits_per_pixel": rate, "scores": scores}


def test_a_model_three_decibels_above_a_rival_is_said_to_be_that():
    rates = (0.1, 0.2, 0.4, 0.8, 1.6)
    theirs = made("rival", [(rate, 25 + 10 * index) for index, rate in enumerate(rates)])
    ours = made("ours", [(rate, 28 + 10 * index) for index, rate in enumerate(rates[1:])])
    rows = [
        row(path, rate, base + 10 * index, codec="rival")
        for path, base in (("a", 15), ("b", 35))
        for index, rate in enumerate(rates)
    ]
    reports = [{"items": [row("a", 0.2, 26.5), row("b", 0.2, 45.5), row("c", 0.2, 99.0)]}] * 3
    reports.append({"items": [row("a", 9.0, 26.5)]})
    found = compare(ours, theirs, reports, rows)["psnr-rgb"]
    assert found["difference"] == [-7, -7, -7, -7]
    assert [each and (each["mean"], each["count"]) for each in found["by_picture"]] == [(1, 2)] * 3 + [None]
    # a step of 10 dB is a doubling: 7 dB less is 2 ** 0.7 times the bits
    assert found["bd_rate_percent"] == pytest.approx(100 * (2**0.7 - 1), abs=1e-6)
    assert compare(ours, theirs, reports, rows)["ms-ssim-rgb"]["bd_rate_percent"] == pytest.approx(62.45, abs=0.01)


def test_tables_show_each_rate_and_what_equal_quality_costs(swept):
    report, _, _ = swept
    headings, rows = curve_rows(report, "psnr-rgb")
    assert headings[:4] == ["codebooks", "bit/px", "PSNR dB", "vs JPEG"]
    assert [line[0] for line in rows] == ["1", "2", "BD-rate %"] and rows[-1][3] == "-"  # two points are no cubic
    assert rows[0][3] == f"{report['comparison']['JPEG']['psnr-rgb']['difference'][0]:+.2f}"
    points, psnr, similarity = curve_tables(report)
    assert len(points.rows) == 2 + 2 * len(LADDER) and len(psnr.rows) == 3
    assert "tiny-image on 2 pictures" in str(points.title) and "codebook usage" in str(similarity.caption)


def test_a_pyramid_of_one_codebook_a_level_is_one_point(tmp_path):
    report = rate_distortion(tiny_model("pyramid"), write_pictures(tmp_path))
    assert report["results"]["num_active"] == [1] and len(report["results"]["bpp"]) == 1
    assert [(book["level"], book["codebook_size"]) for book in report["rates"][0]["codebooks"]] == [(0, 32), (1, 16)]
    assert report["rivals"] == [] and report["comparison"] == {}
    assert curve_rows(report, "psnr-rgb")[1] != []


def test_a_rival_that_fails_is_listed_and_has_no_point(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "rival_sweep", lambda *signal: iter([RivalFailure("JPEG XL", "no")]))
    report = rate_distortion(tiny_model("image"), write_pictures(tmp_path), rates=[2], rivals=True)
    assert [failure["codec"] for failure in report["failed"]] == ["JPEG XL"] * 2
    assert report["rivals"] == [] and "JPEG XL failed on 2 items" in str(curve_tables(report)[-1].caption)


def test_a_broken_picture_is_listed_once_for_each_rate_and_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(picture_codecs, "PICTURE_CODECS", quick_codecs(30))
    manifest = write_pictures(tmp_path)
    (tmp_path / "picture-1.png").write_text("no picture")
    report = rate_distortion(tiny_model("image"), manifest, rivals=True)
    assert [len(part["failed"]) for part in report["rates"]] == [1, 1] and report["failed"] == []
    assert {row["path"] for row in report["rival_items"]} == {str(tmp_path / "picture-0.png")}


def test_what_has_no_curve_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(UserError, match="tiny-image codes pictures, which have no first 2 s"):
        rate_distortion(tiny_model("image"), tmp_path / "absent.jsonl", seconds=2.0)
    with pytest.raises(UserError, match="wanted more than 0"):
        rate_distortion(tiny_model("audio"), tmp_path / "absent.jsonl", seconds=0.0)
    with pytest.raises(UserError, match="3 codebooks were asked for; tiny-image has 1 to 2"):
        rate_distortion(tiny_model("image"), tmp_path / "absent.jsonl", rates=[1, 3])


@pytest.fixture(scope="module")
def heard(tmp_path_factory):
    """A report on sound with rivals, half a second of each recording."""
    manifest = write_recordings(tmp_path_factory.mktemp("speech"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speech_codecs, "speech_codecs", lambda sample_rate: [rounding()])
        return rate_distortion(tiny_model("audio"), manifest, rivals=True, seconds=0.6)


def rounding():
    """A codec that keeps 4 or 8 bits of every sample."""

    def run(signal, sample_rate, folder, channel_bps):
        bits = channel_bps // sample_rate
        (path := folder / "rounded").write_bytes(bytes(signal.numel() * bits // 8))
        kept = (signal * 2**bits).round() / 2**bits
        return RivalResult("Rounding", f"{bits} bits", path, path.stat().st_size, kept, 0.1, 0.2)

    return speech_codecs.SpeechCodec("Rounding", (64000, 128000), (64000, 128000), run)


def test_sound_has_a_curve_over_bits_per_second_with_intervals(heard):
    assert json.loads(json.dumps(heard, allow_nan=False)) == heard
    for number, found, rate in zip((1, 2), heard["rates"], heard["results"]["bitrate_bps"], strict=True):
        assert found["summary"]["bitrate_bps"] == rate and found["num_active"] == number
        assert [row["duration_s"] for row in found["items"]] == [0.5, 0.6, 0.6]  # the first is shorter than asked
    assert heard["results"]["bitrate_bps"][0] < heard["results"]["bitrate_bps"][1]
    for name in ("stft_distance", "mel_distance", "si_sdr"):
        for mean, (low, high) in zip(heard["results"][name], heard["intervals"][name], strict=True):
            assert low <= mean <= high and low < high


def test_a_rival_of_sound_has_a_point_for_each_of_its_settings(heard):
    (rival,) = heard["rivals"]
    assert rival["settings"] == ["4 bits", "8 bits"] and rival["results"]["bitrate_bps"] == pytest.approx(
        [64000, 128000]
    )
    assert rival["results"]["si_sdr"][0] < rival["results"]["si_sdr"][1]
    durations = {row["path"]: row["duration_s"] for row in heard["rival_items"]}
    assert sorted(durations.values()) == [0.5, 0.6, 0.6]
    assert heard["comparison"]["Rounding"]["si_sdr"]["by_recording"] == [None, None]  # nothing at our rates
    points, pesq, stoi = curve_tables(heard)
    assert len(points.rows) == 4 and "tiny-audio on 3 recordings" in str(points.title)
    assert [str(table.columns[1].header) for table in (pesq, stoi)] == ["kbit/s"] * 2


def test_rates_are_read_from_what_a_person_types():
    assert parse_rates("all") is None
    assert parse_rates("4,1, 2") == [4, 1, 2]
    with pytest.raises(UserError, match="wanted all, or numbers of codebooks"):
        parse_rates("some")


@pytest.mark.shared
def test_the_bundled_model_keeps_a_photograph_it_never_saw():
    model = load_model("image-vqvae")
    report = rate_distortion(model, select(SHARED / "images" / "manifest.jsonl", model, split="test", limit=1))
    (item,) = report["rates"][0]["items"]
    assert (item["height"], item["width"]) == (512, 768)
    assert report["results"]["bpp"] == [8 * item["bytes"] / (512 * 768)] and 0.4 < report["results"]["bpp"][0] < 0.7
    assert 23 < report["results"]["psnr-rgb"][0] < 35 and 0.9 < report["results"]["ms-ssim-rgb"][0] < 1


@pytest.mark.shared
@pytest.mark.slow
def test_rivals_on_kodak_are_where_they_were_measured_before():
    entries = select(SHARED / "images" / "manifest.jsonl", tiny_model("image"), split="test")
    records, _, _ = rival_curves(entries, tiny_model("image"), lambda done, total: None)
    curves = {record["name"]: Curve.of(record, "psnr-rgb") for record in records}
    for name, points in KODAK.items():
        for rate, quality in points.items():
            # straight lines between the ladder's points are off by up to 0.04 dB
            assert curves[name].at(rate) == pytest.approx(quality, abs=0.06)
