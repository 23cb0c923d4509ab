import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.core.errors import UserError
from codec.eval.abx_items import build_items
from codec.eval.item_file import AbxItem, read_items
from codec.eval.phones import Phone, frame_labels, phone_name, read_phones
from tests.conftest import SHARED

ROWS = [["sil", 0.0, 0.2], ["AH0", 0.2, 0.35], ["T", 0.35, 0.4], ["", 0.4, 0.9]]
PHONES = (Phone("SIL", 0.0, 0.2), Phone("AH", 0.2, 0.35), Phone("T", 0.35, 0.4), Phone("SIL", 0.4, 0.9))
HEADER = "#file onset offset #phone prev-phone next-phone speaker\n"


def long_text(rows, *, tier="phones"):
    """A TextGrid in Praat's long format, with a tier of points and one of words before the phones."""
    intervals = "".join(
        f'    intervals [{n}]:\n      xmin = {start} \n      xmax = {end} \n      text = "{name}" \n'
        for n, (name, start, end) in enumerate(rows, start=1)
    )
    return f"""File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 0.9
tiers? <exists>
size = 3
item []:
    item [1]:
        class = "TextTier"
        name = "peaks 1 ""x"" "
        xmin = 0
        xmax = 0.9
        points: size = 1
        points [1]:
            number = 0.3
            mark = "H* 5"
    item [2]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 0.9
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 0.9
            text = "at
            two lines"
    item [3]:
        class = "IntervalTier"
        name = "{tier}"
        xmin = 0
        xmax = 0.9
        intervals: size = {len(rows)}
{intervals}"""


def short_text(rows):
    values = "\n".join(f'{start}\n{end}\n"{name}"' for name, start, end in rows)
    head = '"ooTextFile"\n"TextGrid"\n0\n0.9 ! the end\n<exists>\n1\n"IntervalTier"\n"Phone"\n0\n0.9\n'
    return f"File type = {head}{len(rows)}\n{values}\n"


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)
    return path


def test_lines_of_json_and_textgrids_say_the_same(tmp_path):
    line = json.dumps({"path": "there/one.flac", "phones": ROWS, "speaker": "7"})
    assert read_phones(write(tmp_path / "phones.jsonl", f"{line}\n\n")) == {"one": PHONES}
    write(tmp_path / "grids" / "a" / "one.TextGrid", long_text(ROWS))
    write(tmp_path / "grids" / "two.textgrid", short_text(ROWS))
    write(tmp_path / "grids" / "three.TextGrid", long_text(ROWS, tier="Phones"), "utf-16")
    assert read_phones(tmp_path / "grids") == {"one": PHONES, "two": PHONES, "three": PHONES}


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=5), min_size=1, max_size=5))
def test_any_label_survives_a_textgrid(tmp_path_factory, labels):
    folder = tmp_path_factory.mktemp("grids")
    rows = [(label.replace('"', '""'), place, place + 1) for place, label in enumerate(labels)]
    write(folder / "one.TextGrid", long_text(rows))
    assert [phone.name for phone in read_phones(folder)["one"]] == [phone_name(label) for label in labels]


def test_names_lose_their_stress_and_silences_are_one():
    names = {
        "AH0": "AH",
        "ER1": "ER",
        "AH": "AH",
        "B1": "B1",
        "AH3": "AH3",
        "\u02c8v": "v",
        "\u02cck": "k",
    }  # IPA's, too
    assert {name: phone_name(name) for name in names} == names
    assert {phone_name(name) for name in ("SIL", "sil", "sp", "spn", "<sil>", "", " ")} == {"SIL"}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "no recordings"),
        ("\n{", "line 2 is not of the form"),
        ('{"path": "a.wav"}', "line 1 is not of the form"),
        ('{"path": 1, "phones": []}', "line 1 is not of the form"),
        ("[1]", "line 1 is not of the form"),
        ('{"path": "a.wav", "phones": [["a", 0]]}', "line 1 is not of the form"),
        ('{"path": "a.wav", "phones": [["a", 0, "x"]]}', "line 1: a: from 0 to x is no stretch"),
        ('{"path": "a.wav", "phones": [["a", 0, NaN]]}', "no stretch"),
        ('{"path": "a.wav", "phones": [["a", 0.5, 0.5]]}', "no stretch"),
        ('{"path": "a.wav", "phones": [["a", 0, 1], ["b", 0.5, 2]]}', "line 1: b begins at 0.5 s, before a ends"),
        ('{"path": "a.wav", "phones": []}\n{"path": "b/a.mp3", "phones": []}', "line 2: a came before"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, lines, message):
    with pytest.raises(UserError, match=message):
        read_phones(write(tmp_path / "phones.jsonl", lines))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (long_text(ROWS, tier="segments"), 'its tiers: peaks 1 "x" , words, segments'),
        (long_text(ROWS).replace("xmax = 0.35", "xmax = late"), 'line 42: "AH0" where a number belongs'),
        (long_text([["a", 0, 0.5], ["b", 0.2, 0.9]]), r"line 42: b begins at 0.2 s, before a ends"),
        (long_text(ROWS)[:-60], "the file breaks off"),
        (short_text(ROWS).replace("<exists>", "yes"), "line 6: 1 where a flag"),
        (short_text(ROWS).replace("1\n", "1.5\n", 1), "line 6: 1.5 where a number of entries"),
        (short_text(ROWS).replace('"IntervalTier"', "7"), "line 7: 7 where a text"),
        (short_text(ROWS).replace("TextGrid", "Sound 2"), "is not a TextGrid"),
        (short_text(ROWS).replace("\n1\n", "\n1e999\n", 1), "line 6: inf where a number of entries"),
        ("", "line 1: the file breaks off"),
    ],
)
def test_a_malformed_textgrid_is_named(tmp_path, text, message):
    write(tmp_path / "one.TextGrid", text)
    with pytest.raises(UserError, match=message):
        read_phones(tmp_path)


def test_files_that_are_not_there_or_not_text_are_named(tmp_path):
    with pytest.raises(UserError, match=r"has no \.TextGrid files"):
        read_phones(tmp_path)
    with pytest.raises(UserError, match=r"cannot read .*none\.jsonl: No such file"):
        read_phones(tmp_path / "none.jsonl")
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UserError, match="not text in UTF-8"):
        read_phones(tmp_path / "bytes.jsonl")
    (tmp_path / "one.TextGrid").write_bytes(b"\xe9")
    with pytest.raises(UserError, match="in UTF-8 or UTF-16"):
        read_phones(tmp_path)
    write(tmp_path / "one.TextGrid", long_text(ROWS))
    write(tmp_path / "below" / "one.TextGrid", long_text(ROWS))
    with pytest.raises(UserError, match="names of their own"):
        read_phones(tmp_path)


def test_items_keep_what_is_written(tmp_path):
    path = write(tmp_path / "a.item", f"{HEADER}here/r.wav 0.1 0.4 AH0 K sil s1\nr.2 0.2 0.5 T AH0 K s2\n")
    assert read_items(path) == [
        AbxItem("r", 0.1, 0.4, "AH0", "K", "sil", "s1"),
        AbxItem("r.2", 0.2, 0.5, "T", "AH0", "K", "s2"),
    ]
    assert read_phones(path) == {"r": (Phone("AH", 0.1, 0.4),), "r.2": (Phone("T", 0.2, 0.5),)}


def test_the_times_of_centres_follow_from_the_triphones_around_them(tmp_path):
    ends = [0.0, 0.15, 0.2, 0.3, 0.42, 0.5, 0.61]
    phones = [Phone(n, start, end) for n, start, end in zip("uvwxyz", ends[:-1], ends[1:], strict=True)]
    items = build_items({"r": phones}, {"r": "1"})
    rows = [f"r {i.start_s} {i.end_s} {i.phone} {i.previous} {i.following} 1\n" for i in reversed(items)]
    path = write(tmp_path / "a.item", HEADER + "".join(rows))
    assert sorted(read_items(path), key=lambda item: item.start_s) == items
    assert read_phones(path) == {"r": tuple(phones[2:-2])}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its first line has to be: #file onset"),
        (HEADER.replace("prev-phone ", ""), "its first line has to be: #file onset"),
        (HEADER, "no items below its header"),
        (f"{HEADER}\nr 0.1 0.4 AH K s1\n", "line 3: 6 columns; an item has 7"),
        (f"{HEADER}r 0.4 0.1 AH K T s1\n", "line 2: from 0.4 to 0.1 is no stretch"),
        (f"{HEADER}r 0.1 end AH K T s1\n", "line 2: from 0.1 to end is no stretch"),
    ],
)
def test_a_malformed_item_is_named(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        read_items(write(tmp_path / "a.item", text))


def test_a_frame_is_the_phone_that_covers_its_centre():
    labels = frame_labels(PHONES, frame_rate=10, num_frames=10, classes=["AH", "SIL"])
    # centres 0.05, 0.15 | 0.25 | 0.35 belongs to T, which is no class | 0.45 ... 0.85 | 0.95 is outside
    assert labels.tolist() == [1, 1, 0, -1, 1, 1, 1, 1, 1, -1]
    assert labels.dtype == np.int64


@given(
    ends=st.lists(st.integers(1, 500), min_size=2, max_size=10, unique=True).map(sorted),
    frame_rate=st.sampled_from([12.5, 50.0, 86.1328125, 100.0]),
)
def test_labels_are_those_of_a_search_for_every_frame(ends, frame_rate):
    phones = [Phone(str(n), a / 100, b / 100) for n, (a, b) in enumerate(itertools.pairwise(ends))]
    labels = frame_labels(phones, frame_rate=frame_rate, num_frames=60, classes=[p.name for p in phones])
    for frame, label in enumerate(labels):
        centre = round((frame + 0.5) / frame_rate, 9)
        assert [n for n, p in enumerate(phones) if p.start_s <= centre < p.end_s] == ([label] if label >= 0 else [])


@pytest.mark.shared
def test_the_phones_of_a_real_corpus_are_read():
    phones = read_phones(SHARED / "speech" / "devclean_phones.jsonl")
    assert len(phones) == 518 and sum(map(len, phones.values())) == 34102
    assert len({phone.name for row in phones.values() for phone in row}) == 40  # 39 of ARPABET, and silence
