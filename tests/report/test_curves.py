import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from codec.core.errors import UserError
from codec.report import plot_writer
from codec.report.canvas import PixelCanvas
from codec.report.curves import _rate_ticks, _spread, _ticks


def report(num_rates: int = 5, rivals: int = 4, similarity: bool = True) -> dict:
    """What `rate_distortion` gives, as far as drawings read it."""

    def record(name, shift, number):
        rates = np.geomspace(0.06, 0.7, number)
        psnr = 30 + shift + 4 * np.log(rates)
        similarities = (1 - 0.05 / rates**0.5 / (3 + shift)).tolist() if similarity else [None] * number
        results = {"bpp": rates.tolist(), "psnr-rgb": psnr.tolist(), "ms-ssim-rgb": similarities}
        intervals = {"psnr-rgb": [[None, None]] * number, "ms-ssim-rgb": [[None, None]] * number}
        fixed = {
            "media": "image",
            "settings": ["low"] * number,
            "intervals": intervals | {"ssim-rgb": [[None, None]] * number},
        }
        results |= {
            "ssim-rgb": [None] * number,
            "bpp-corpus": rates.tolist(),
            "encoding_time": [0.1] * number,
            "decoding_time": [0.1] * number,
        }
        return {"name": name, "description": "", "results": results, **fixed}

    ours = record("ours & mine", 1.0, num_rates)
    ours["results"]["num_active"] = list(range(1, num_rates + 1))
    others = [record(f"rival <{index}>", -0.4 * index, 9) for index in range(rivals)]
    found = {"difference": [0.5] * num_rates, "by_picture": [None] * num_rates, "bd_rate_percent": -12.5}
    comparison = {rival["name"]: {"psnr-rgb": found, "ms-ssim-rgb": found} for rival in others}
    return {**ours, "rivals": others, "comparison": comparison, "rates": [{"summary": {"items": 24}}]}


def test_an_svg_holds_a_line_per_codec_and_panel_and_every_name(tmp_path):
    plot_writer(tmp_path / "curve.svg")(report())
    root = ElementTree.parse(tmp_path / "curve.svg").getroot()
    width = float(root.attrib["width"])
    lines = [line for line in root.findall(".//{*}polyline") if line.attrib["stroke-width"] != "1"]
    assert len(lines) == 2 * 5
    words = [text.text for text in root.findall(".//{*}text")]
    for name in ("ours & mine", *(f"rival <{index}>" for index in range(4))):
        assert words.count(name) == 2
    assert "ours & mine on 24 pictures" in words and "bit/px" in words
    for text in root.findall(".//{*}text"):
        assert 0 < float(text.attrib["x"]) < width


def heard() -> dict:
    """What `rate_distortion` gives of sound: five rates of ours, a rival at two that lie above them."""

    def record(name, rates, pesq):
        names = ("pesq", "stoi", "visqol", "si_sdr", "mel_distance", "stft_distance", "wer")
        scores = {key: [None] * len(rates) for key in names} | {"pesq": pesq, "stoi": [value / 5 for value in pesq]}
        speeds = {f"{way}_times_real_time": [10.0] * len(rates) for way in ("encode", "decode")}
        ends = {key: [[v and v - 0.1, v and v + 0.1] for v in scores[key]] for key in names}
        fixed = {"media": "audio", "intervals": ends, "settings": [f"{rate} bit/s" for rate in rates]}
        return {"name": name, "description": "", "results": {"bitrate_bps": rates, **scores, **speeds}, **fixed}

    ours = record("ours", [500, 1000, 2000, 4000, 6000], [1.2, 1.6, 2.1, 2.6, 2.9])
    ours["results"]["num_active"] = [1, 2, 4, 8, 12]
    found = {"difference": [None] * 5, "by_recording": [None] * 5, "bd_rate_percent": None}
    rival = record("rival", [8000, 12000], [2.7, 3.7])
    comparison = {"rival": {"pesq": found, "stoi": found}}
    return {**ours, "rivals": [rival], "comparison": comparison, "rates": [{"summary": {"items": 25}}]}


def test_sound_is_drawn_over_kbits_with_all_points_of_rivals_and_a_bar_for_every_interval(tmp_path):
    plot_writer(tmp_path / "curve.svg")(heard())
    root = ElementTree.parse(tmp_path / "curve.svg").getroot()
    words = [text.text for text in root.findall(".//{*}text")]
    assert {"ours on 25 recordings", "PESQ", "STOI", "kbit/s", "rival", "10"} <= set(words)
    bars = [line for line in root.findall(".//{*}polyline") if line.attrib["stroke-width"] == "1.2"]
    assert len(bars) == 2 * (5 + 2) and len(root.findall(".//{*}circle")) == 2 * (5 + 2)
    for bar in bars:
        (x0, y0), (x1, y1) = (map(float, point.split(",")) for point in bar.attrib["points"].split())
        assert x0 == x1 and y0 > y1 > 0


def test_higher_quality_stands_higher_and_more_bits_further_right(tmp_path):
    plot_writer(tmp_path / "curve.svg")(report(rivals=1))
    text = (tmp_path / "curve.svg").read_text()
    theirs, ours, *_ = re.findall(r'<polyline points="([^"]+)"[^>]*stroke="#(?!e4e1dc)', text)
    points = [tuple(map(float, point.split(","))) for point in ours.split()]
    assert len(points) == 5
    assert all(a[0] < b[0] and a[1] > b[1] for a, b in pairwise(points))
    assert max(float(point.split(",")[1]) for point in theirs.split()) > points[0][1]  # a dB below ours


@pytest.mark.parametrize(("num_rates", "rivals", "similarity"), [(1, 0, True), (1, 4, True), (6, 2, False)])
@pytest.mark.parametrize("suffix", [".svg", ".png", ".html"])
def test_few_points_no_rivals_and_small_pictures_can_be_drawn(num_rates, rivals, similarity, suffix, tmp_path):
    plot_writer(path := tmp_path / f"curve{suffix}")(report(num_rates, rivals, similarity))
    if suffix != ".png":
        assert ("no picture is large enough" in path.read_text()) is not similarity


def test_a_png_has_the_colours_of_the_curves(tmp_path):
    plot_writer(tmp_path / "curve.png")(report())
    with Image.open(tmp_path / "curve.png") as image:
        assert image.size == (2240, 1000)
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 24) or []}
    assert {(0x8C, 0x24, 0x68), (0xD9, 0x82, 0x00), (0x00, 0x72, 0xB2), (255, 255, 255)} <= colours


def test_a_page_carries_the_drawing_and_the_figures(tmp_path):
    plot_writer(tmp_path / "curve.html")(report())
    page = (tmp_path / "curve.html").read_text()
    assert "<svg" in page and page.count("<table>") == 3
    assert "<th>vs rival &lt;3&gt;</th>" in page and "<td>-12.5</td>" in page and "http" not in page.split("<svg")[0]


def test_another_format_is_refused_before_anything_is_measured(tmp_path):
    with pytest.raises(UserError, match=r"cannot draw curves as 'curve.pdf': wanted one of .svg, .png, .html"):
        plot_writer(tmp_path / "curve.pdf")


@pytest.mark.parametrize(("low", "high"), [(20.3, 33.9), (28.01, 28.4), (0, 1), (3, 90)])
def test_ticks_are_round_and_neither_few_nor_many(low, high):
    ticks = _ticks(low, high)
    assert 4 <= len(ticks) <= 11 and low <= ticks[0] and ticks[-1] <= high
    assert _rate_ticks(0.04, 0.9) == pytest.approx([0.05, 0.07, 0.1, 0.2, 0.3, 0.5, 0.7])


def test_names_do_not_cover_each_other():
    placed = _spread([(100.0, "a", ""), (101.0, "b", ""), (50.0, "c", ""), (103.0, "d", "")])
    assert [name for _, name, _ in placed] == ["c", "a", "b", "d"]
    heights = [height for height, _, _ in placed]
    assert heights[:2] == [50, 100] and min(np.diff(heights)) >= 17


def test_pixels_are_where_they_were_asked_for():
    canvas = PixelCanvas(20, 10)
    canvas.dot((5, 4), radius=2, colour="#ff0000")
    pixels = np.asarray(canvas.content()).astype(int)
    rows, columns = np.nonzero(pixels[..., 1] < 128)
    assert pixels.shape == (20, 40, 3)
    assert (rows.mean(), columns.mean()) == pytest.approx((7.5, 9.5), abs=0.6)
    assert len(rows) == pytest.approx(np.pi * 4**2, rel=0.15)
