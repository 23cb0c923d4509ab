import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from codec.core.errors import UserError
from codec.data.audio import write_audio
from codec.data.image import write_image
from codec.metrics import perceptual
from codec.models.tiny import tiny_model
from codec.report import demo, run_demo
from codec.report.colour import colour_map
from codec.report.inline import view
from codec.report.pictures import _ranked
from codec.report.samples import Sample
from tests.eval.corpus import stereo
from tests.metrics.test_image import picture

MODELS = {kind: tiny_model(kind) for kind in ("audio", "image")}


class Tags(HTMLParser):
    """Every tag with its attributes, and whether each that was opened was closed."""

    def __init__(self, text: str):
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def of(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.seen if tag in tags]


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    write_audio(folder / "a <b> & c.flac", stereo(0.8, 22050), 22050)
    write_image(folder / "view.png", picture(180, 190))
    console = Console(record=True, width=80, file=open(folder / "printed", "w"))  # noqa: SIM115
    inputs = [folder / "a <b> & c.flac", folder / "view.png"]
    page = run_demo(inputs, folder / "out", models=MODELS, console=console)
    return page.read_text(), console.export_text(), folder / "out"


def test_the_page_asks_the_network_for_nothing(shown):
    text, _, _ = shown
    assert not re.search(r"""(?:src|href|url)\s*[=(]\s*["']?\s*(?:https?:)?//""", text)
    tags = Tags(text)
    assert all((each.get("src") or "data:").startswith("data:") for each in tags.of("img", "audio", "script"))
    assert not tags.of("link", "iframe", "object")
    (policy,) = [each["content"] for each in tags.of("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None and policy.startswith("default-src 'none'")


def test_the_page_holds_every_item_and_codec(shown):
    text, printed, out = shown
    tags = Tags(text)
    rivals = len(list((out / "files").glob("*"))) - 2  # one .vqc for each of two items
    players, pictures = len(tags.of("audio")), len([each for each in tags.of("button") if each.get("title")])
    assert players + pictures == 2 * 2 + rivals  # originals, ours, rivals
    assert "a &lt;b&gt; &amp; c.flac" in text and "<b> &" not in text
    for name in ("tiny-audio", "tiny-image", "JPEG", "view.png"):
        assert name in text and name in printed


def test_bytes_on_the_page_and_in_the_terminal_are_those_of_the_kept_files(shown):
    text, printed, out = shown
    for path in (out / "files").glob("*.vqc"):
        size = f"{path.stat().st_size:,}"
        assert size in text and size in printed


def test_the_terminal_table_fits_eighty_columns(shown):
    _, printed, _ = shown
    table = [line for line in printed.splitlines() if re.match(r" *(tiny|JPEG|Opus|Codec2)", line)]
    assert table and "…" not in "".join(table)


def test_a_page_comes_without_the_metrics_extra_and_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(perceptual, "_find", lambda package: None)
    write_audio(tmp_path / "in.wav", stereo(0.5, 16000), 16000)
    page = run_demo([tmp_path / "in.wav"], tmp_path, models=MODELS, console=Console(quiet=True))
    assert "PESQ needs the metrics extra" in page.read_text()


@pytest.mark.parametrize("extent", [1, 40])
def test_the_smallest_things_make_a_page(extent, tmp_path):
    write_audio(tmp_path / "in.wav", torch.zeros(1, extent), 16000)
    write_image(tmp_path / "in.png", torch.zeros(3, extent, extent))
    inputs = [tmp_path / "in.wav", tmp_path / "in.png"]
    text = run_demo(inputs, tmp_path, models=MODELS, console=Console(quiet=True)).read_text()
    assert Tags(text).of("img") and all(path.name in text for path in inputs)


def test_a_long_recording_is_cut_and_the_page_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "MOST_SECONDS", 1.0)
    write_audio(tmp_path / "long.wav", stereo(2.5, 16000), 16000)
    page = run_demo([tmp_path / "long.wav"], tmp_path, models=MODELS, console=Console(quiet=True))
    assert "first 1 of 2 seconds" in page.read_text() and "1.0 s, 16 kHz stereo" in page.read_text()


def test_contents_decide_where_a_suffix_says_nothing(tmp_path):
    write_image(tmp_path / "in.png", picture(20, 30))
    (tmp_path / "in.png").rename(tmp_path / "picture")
    page = run_demo([tmp_path / "picture"], tmp_path / "out", models=MODELS, console=Console(quiet=True))
    assert "30 \u00d7 20 pixels" in page.read_text()


def test_mistakes_are_told_in_one_line(tmp_path):
    (tmp_path / "notes").write_text("hello")
    for path, reason in [(tmp_path / "gone.wav", "no such file"), (tmp_path / "notes", "neither sound")]:
        with pytest.raises(UserError, match=reason):
            run_demo([path], tmp_path, models=MODELS)


def test_with_no_samples_installed_the_way_on_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "installed_speech", lambda: None)
    monkeypatch.setattr(demo, "installed_photographs", list)
    with pytest.raises(UserError, match=r"vq-codec\[app\]"):
        run_demo(None, tmp_path, models=MODELS)


def test_photographs_alone_make_a_demo(tmp_path, monkeypatch):
    write_image(tmp_path / "in.png", picture(64, 64))
    sample = Sample(Path(tmp_path / "in.png"), "image", "A picture", "made here")
    monkeypatch.setattr(demo, "installed_speech", lambda: None)
    monkeypatch.setattr(demo, "installed_photographs", lambda: [sample])
    page = run_demo(None, tmp_path, models=MODELS, console=Console(quiet=True))
    assert "made here" in page.read_text()


def test_the_colour_map_gets_lighter_at_every_step():
    luminance = colour_map().astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > -0.75).all() and luminance[-1] - luminance[0] > 200  # rounding to 8 bits


def test_codes_are_ranked_by_what_they_carry():
    shades = _ranked(np.array([[5, 9], [9, 2]]), np.array([[3.0, -1.0], [-3.0, 8.0]]))
    assert shades[0, 1] == shades[1, 0] < shades[0, 0] < shades[1, 1]


def test_a_large_picture_is_shown_in_its_middle():
    signal = torch.arange(2000).float().expand(3, 10, 2000)
    shown_part = view(signal)
    assert shown_part.shape == (3, 10, 1024) and shown_part[0, 0, 0] == (2000 - 1024) // 2
