"""The page of units, on recordings whose units and phones are laid down by hand."""

import base64
import io
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from codec.checkpoint.units import save_units
from codec.cli.main import main
from codec.eval.heard import Heard
from codec.eval.phones import Phone
from codec.eval.units import score_units
from codec.models.build_units import build_units, parse_units
from codec.report.colour import hues
from codec.report.heat_map import HeatMap
from codec.report.meanings import Legend, find_meanings, legend_of
from codec.report.pictures import mel_image
from codec.report.units_page import choose_examples, page, write_units_page
from codec.report.unrolled import PIXELS_PER_S, first_part, meant_blocks, unit_blocks
from tests.report.test_page import Tags

RATE, NAMES = 16000, ("SIL", "a<b", "n", "o")
MODEL = build_units(
    parse_units({"kind": "features", "features": {"kind": "log_mel"}, "quantizer": {"kind": "ema", "codebook_size": 9}})
).eval()
TURNS = {0: "0212321230", 1: "0232123120", 2: "0121232310", 3: "0212312320"}  # places in NAMES by recording


def _heard(folder: Path, index: int) -> Heard:
    """Phones of 0.1 s, each of two units, of which every fifth frame is wrong; unit 8 is never met."""
    places = [int(turn) for turn in TURNS[index]]
    units = np.array([2 * place + (frame >= 4) for place in places for frame in range(10)])
    units[::5] = (units[::5] + 3) % 8
    path = folder / f"{index}.flac"
    soundfile.write(path, 0.1 * np.random.default_rng(index).standard_normal(1600 * len(places)), RATE)
    phones = tuple(Phone(NAMES[place], 0.1 * at, 0.1 * (at + 1)) for at, place in enumerate(places))
    one_hot = np.eye(9)[units]
    return Heard(path, f"s{index % 2}", 0.1 * len(places), phones, one_hot, one_hot, units)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heard")
    return [_heard(folder, index) for index in TURNS]


@pytest.fixture(scope="module")
def scores(recordings):
    return score_units(MODEL, recordings)


@pytest.fixture(scope="module")
def text(scores, recordings):
    return page(MODEL, scores, recordings)


@pytest.fixture(scope="module")
def unlabelled(recordings):
    plain = [Heard(h.path, None, h.duration_s, (), h.features, h.latents, h.units) for h in recordings]
    return page(MODEL, score_units(MODEL, plain), plain)


def _facts(text: str) -> list[dict]:
    return [json.loads(found) for found in re.findall(r'<script type="application/json">(.*?)</script>', text)]


def _picture(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def _counts(recordings) -> Counter:
    """Frames by unit and phone."""
    return Counter(
        (unit, heard.phones[frame // 10].name)
        for heard in recordings
        for frame, unit in enumerate(heard.units.tolist())
    )


@pytest.mark.parametrize("which", ["text", "unlabelled"])
def test_the_page_is_whole_and_asks_the_network_for_nothing(which, request):
    shown = request.getfixturevalue(which)
    tags = Tags(shown)
    assert not re.search(r"""(?:src|href|url)\s*[=(]\s*["']?\s*(?:https?:)?//""", shown)
    assert not tags.of("link", "iframe", "object")
    assert all((each.get("href") or "data:").startswith("data:") for each in tags.of("image"))
    assert all((each.get("src") or "").startswith("data:audio/flac") for each in tags.of("audio"))
    places = {each["id"] for each in tags.of("section")}
    assert {(each["href"] or "").lstrip("#") for each in tags.of("a")} <= places
    assert len(tags.of("audio")) == len([name for name in places if (name or "").startswith("example")])


def test_the_heat_map_tells_the_frames_of_every_unit_and_phone(text, recordings):
    counts, facts = _counts(recordings), _facts(text)[0]
    assert facts["rows"][0] == "SIL" and set(facts["rows"]) == set(NAMES)
    columns = [re.fullmatch(r"unit (\d+) \(stands for (.+)\)", name) for name in facts["columns"]]
    units = [int(found[1]) for found in columns if found]
    assert sorted(units) == list(range(8)), "unit 8 met nothing"
    for unit, found, *told in zip(units, columns, *facts["told"], strict=True):
        total = sum(counts[unit, name] for name in NAMES)
        assert counts[unit, found[2]] == max(counts[unit, name] for name in NAMES)
        for name, words in zip(facts["rows"], told, strict=True):
            count = counts[unit, name]
            assert words == (f"{count} of {total} frames of the unit, {100 * count / total:.0f} %" if count else "")


def test_the_brightest_cell_of_a_column_is_the_phone_that_the_unit_stands_for(text):
    facts, uri = _facts(text)[0], Tags(text).of("image")[0]["href"]
    pixels = np.asarray(_picture(uri or "").convert("L")).astype(int)
    assert pixels.shape == (4, 8)
    for column, row in enumerate(pixels.argmax(axis=0)):
        assert facts["columns"][column].endswith(f"(stands for {facts['rows'][row]})")
    assert (np.diff(pixels.argmax(axis=0)) >= 0).all(), "units do not stand in the order of their phones"


def test_the_diagonal_of_mistakes_is_the_accuracy(text, scores):
    facts = _facts(text)[1]
    right = [int(row[place].partition(" ")[0]) for place, row in enumerate(facts["told"])]
    every = [int(words.partition(" ")[0]) for row in facts["told"] for words in row if words]
    assert sum(right) / sum(every) == pytest.approx(scores.clusters.accuracy.mean)
    assert sum(every) == 10 * sum(map(len, TURNS.values()))


def test_errors_of_abx_are_told_by_pair(text, scores):
    maps = _facts(text)[2:]
    every = [score for by_view in scores.abx.values() for score in by_view.values()]
    assert len(maps) == len(every) > 0
    for facts, score in zip(maps, every, strict=True):
        told = {
            (row, column.removeprefix("against ")): words
            for row, line in zip(facts["rows"], facts["told"], strict=True)
            for column, words in zip(facts["columns"], line, strict=True)
            if words
        }
        assert told == {pair: f"{100 * error:.1f} % wrong" for pair, error in score.by_pair.items()}


def test_every_score_is_shown_with_its_interval(text, scores):
    found = scores.clusters.accuracy
    assert f"<td>{100 * found.mean:.1f} %<small>{100 * found.low:.1f} to {100 * found.high:.1f}</small></td>" in text
    for mode in scores.abx.values():
        for score in mode.values():
            assert f"<td>{100 * score.error:.1f} %" in text
    for rate in scores.bitrate.values():
        assert f"<td>{rate.bits_per_second.mean:.0f} bit/s" in text
    assert text.count("<tr><th scope=row>") == text.count("</small></td>") >= 6 + 4 + 2


def test_names_cannot_break_the_page(text):
    assert "a<b" not in text and "a&lt;b" in text and "a\\u003cb" in text


def test_without_phones_the_page_says_so_and_shows_units_alone(unlabelled):
    assert "None of them has phone times" in unlabelled and "give --phones" in unlabelled
    assert not _facts(unlabelled) and 'id="usage"' in unlabelled
    lanes = re.findall(r'<b style="top:\d+px">([^<]+)</b>', unlabelled)
    assert set(lanes) == {"waveform", "log mel spectrogram", "units"}


def test_lanes_lie_under_one_another_on_one_axis_of_time(text, recordings):
    lanes = re.findall(r'<b style="top:(\d+)px">([^<]+)</b>', text)
    names = ["waveform", "log mel spectrogram", "phones", "phones that the units stand for", "units"]
    assert [name for _, name in lanes] == 2 * names
    tops = [int(top) for top, _ in lanes[:5]]
    assert tops == sorted(set(tops))
    widths = {each["width"] for each in Tags(text).of("image") if each.get("height") == "130"}
    assert widths == {str(round(PIXELS_PER_S * recordings[0].duration_s))}


def test_blocks_of_units_tile_the_recording_and_those_of_phones_join_them():
    legend = Legend({}, ["#000000"] * 4, ["A", "A", "B", ""])
    units = np.array([0, 0, 1, 2, 2, 3, 0])
    blocks = list(unit_blocks(units, frame_rate=10, legend=legend))
    assert [(block.text, block.start_s, block.stop_s) for block in blocks] == [
        ("0", 0.0, 0.2),
        ("1", 0.2, 0.3),
        ("2", 0.3, 0.5),
        ("3", 0.5, 0.6),
        ("0", 0.6, 0.7),
    ]
    assert blocks[0].told == "unit 0, stands for A: 2 frames from 0.00 s"
    meant = list(meant_blocks(units, frame_rate=10, legend=legend))
    assert [(block.text, block.stop_s) for block in meant] == [("A", 0.3), ("B", 0.5), ("", 0.6), ("A", 0.7)]


def test_of_a_long_recording_the_first_seconds_are_shown(recordings):
    phones = (Phone("a", 0.0, 11.5), Phone("b", 11.5, 13.0), Phone("c", 13.0, 30.0))
    long = Heard(recordings[0].path, None, 30.0, phones, np.zeros((1, 1)), np.zeros((1, 1)), np.arange(3000))
    shown, signal = first_part(long, torch.zeros(1, 30 * RATE), frame_rate=100)
    assert (shown.duration_s, len(shown.units), signal.shape[1]) == (12.0, 1200, 12 * RATE)
    assert shown.phones == (Phone("a", 0.0, 11.5), Phone("b", 11.5, 12.0))


def test_examples_have_phones_and_speakers_of_their_own_and_are_neither_long_nor_short(recordings):
    def named(speaker, duration_s, phones=recordings[0].phones):
        one = recordings[0]
        return Heard(one.path, speaker, duration_s, phones, one.features, one.latents, one.units)

    choices = [named("x", 9.0), named("x", 5.1), named("x", 5.2), named("y", 1.0), named("z", 5.0, phones=())]
    assert choose_examples(choices) == [choices[1], choices[3]]
    assert choose_examples(choices[-1:]) == choices[-1:]


def test_phones_that_share_units_stand_near_each_other_and_look_alike(scores):
    groups = ("s", "z", "m", "n", "o", "u")  # pairs that share units, given apart
    given = tuple(sorted((*groups, "SIL")))
    pairs = {name: 1 + place // 2 for place, name in enumerate(groups)} | {"SIL": 0}
    frames = [(4 * pairs[name] + step, given.index(name)) for name in given for step in range(4)]
    frames += [(4 * pair + step, given.index(name)) for pair, name in ((1, "m"), (2, "o")) for step in (0,)]
    counts = np.zeros((16, 7), dtype=np.int64)
    for unit, label in frames:
        counts[unit, label] += 5
    fields = vars(scores) | {"classes": given, "codebook_size": 16}
    fields["clusters"] = type(scores.clusters)(**vars(scores.clusters) | {"confusion": counts})
    meanings = find_meanings(type(scores)(**fields))
    assert meanings is not None and meanings.phones[0] == "SIL"
    places = {name: place for place, name in enumerate(meanings.phones)}
    assert all(abs(places[one] - places[other]) == 1 for one, other in ("sz", "mn", "ou"))
    colours = legend_of(type(scores)(**fields), meanings).colours
    assert len(set(colours.values())) == 7


def test_units_that_met_no_phone_are_left_out_of_the_map(scores):
    meanings = find_meanings(scores)
    assert meanings is not None
    assert meanings.stands_for[8] == -1 and 8 not in meanings.unit_order
    assert legend_of(scores, meanings).unit_phones[8] == ""


def test_a_cell_without_a_value_is_empty():
    values = np.array([[0.0, np.nan], [1.0, 0.5]])
    html = HeatMap("t", values, "ab", "cd", [("c", 1), ("d", 1)], [["x", ""], ["y", "z"]]).html()
    (uri,) = (each["href"] for each in Tags(html).of("image"))
    alpha = np.asarray(_picture(uri or "").convert("RGBA"))[..., 3]
    assert alpha.tolist() == [[255, 0], [255, 255]]


def test_many_columns_have_their_names_in_tiers():
    columns = [str(place) for place in range(500)]
    html = HeatMap("t", np.zeros((1, 500)), "a", columns, [(name, 1) for name in columns], [[""] * 500]).html()
    heights = re.findall(r'y="(\d+)" text-anchor="middle"', html)
    assert len(set(heights)) == 3 and len(heights) == 500


@pytest.mark.parametrize("count", [1, 2, 39, 500])
def test_dark_words_can_be_read_on_every_hue(count):
    codes = hues(count)
    assert len(codes) == count
    srgb = np.array([[int(code[at : at + 2], 16) for at in (1, 3, 5)] for code in [*codes, "#1c1b22"]]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    assert ((luminance[:-1] + 0.05) / (luminance[-1] + 0.05)).min() > 4.5  # WCAG 2.2, AA


def test_a_higher_tone_lies_higher_in_the_mel_spectrogram():
    time = torch.arange(RATE) / RATE
    rows = []
    for hertz in (200, 1000, 4000):
        pixels = np.asarray(mel_image(torch.sin(2 * np.pi * hertz * time)[None], RATE).convert("L"))
        rows.append(int(pixels[:, 100].argmax()))
        assert pixels.shape == (64, 201)
    assert rows == sorted(rows, reverse=True)


def test_one_command_writes_the_page(recordings, tmp_path):
    save_units(MODEL, tmp_path / "model", name="<tones>")
    lines = [
        {"path": str(h.path), "phones": [[phone.name, phone.start_s, phone.end_s] for phone in h.phones]}
        for h in recordings
    ]
    (tmp_path / "phones.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = ["units", "eval", str(recordings[0].path.parent), "-m", str(tmp_path / "model")]
    assert main([*arguments, "--phones", str(tmp_path / "phones.jsonl"), "--html", str(tmp_path / "p.html")]) == 0
    shown = (tmp_path / "p.html").read_text()
    assert "&lt;tones&gt;" in shown and "no speakers" not in shown
    assert re.search(r"<b>speakers</b>: .+", shown), "what is missing has its reason"


def test_the_file_is_the_page(scores, recordings, tmp_path):
    write_units_page(tmp_path / "page.html", MODEL, scores, recordings)
    assert _facts((tmp_path / "page.html").read_text()) == _facts(page(MODEL, scores, recordings))
