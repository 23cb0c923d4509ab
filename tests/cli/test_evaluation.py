"""`codec eval` on pictures: curves, drawings, grids, features."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from codec.cli import main
from codec.eval import picture_codecs
from tests.eval.corpus import quick_codecs


@pytest.fixture
def manifest(here: Path) -> str:
    """Two pictures."""
    lines = []
    for index, extent in enumerate(((-2, -1, 1, 1), (-1, -1, 0, 1))):
        Image.effect_mandelbrot((40, 32), extent, 50).convert("RGB").save(f"{index}.png")
        lines.append(json.dumps({"path": f"{index}.png", "split": "test"}))
    Path("manifest.jsonl").write_text("\n".join(lines) + "\n")
    return "manifest.jsonl"


def test_rates_make_a_curve_with_rivals_a_drawing_and_a_grid(
    manifest: str, image_model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_codecs, "PICTURE_CODECS", quick_codecs(10, 80))
    options = ["--rates", "1,2", "--rivals", "--plot", "curve.svg", "--grid", "grid.png", "--split", "test"]
    assert main(["eval", image_model, manifest, "--json", "report.json", *options]) == 0
    assert "vs JPEG" in capsys.readouterr().out
    report = json.loads(Path("report.json").read_text())
    assert report["results"]["num_active"] == [1, 2] and "JPEG" in report["comparison"]
    assert Path("curve.svg").read_text().startswith("<svg")
    with Image.open("grid.png") as grid:
        assert grid.width > 3 * 40


def test_a_drawing_alone_means_all_rates(manifest: str, image_model: str) -> None:
    assert main(["eval", image_model, manifest, "--json", "report.json", "--plot", "curve.html", "--limit", "1"]) == 0
    assert json.loads(Path("report.json").read_text())["results"]["num_active"] == [1, 2]


def test_features_give_a_frechet_distance(manifest: str, image_model: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("tiny_features.py").write_text(
        "from torch import nn\ndef network():\n    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())\n"
    )
    options = ["--num-active", "1", "--features", "tiny_features:network"]
    assert main(["eval", image_model, manifest, "--json", "report.json", *options]) == 0
    assert json.loads(Path("report.json").read_text())["frechet_distance"] > 0
    assert "Frechet distance" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--rates", "few"], "wanted all, or numbers of codebooks"),
        (["--rates", "1", "--num-active", "1"], "leave one of them out"),
        (["--plot", "curve.pdf"], "cannot draw curves"),
        (["--grid", "grid.jpg"], "name a .png"),
        (["--features", "nothing"], "wanted module:function"),
        (["--rates", "7"], "7 codebooks were asked for"),
        (["--prior", "absent"], "absent"),
    ],
)
def test_a_mistake_is_told_before_anything_is_measured(
    options: list[str], complaint: str, manifest: str, image_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", image_model, manifest, "--json", "report.json", *options]) == 2
    assert complaint in capsys.readouterr().err and not Path("report.json").exists()
