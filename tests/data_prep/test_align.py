"""Phone times: by made-up acoustic models whose answer is known, and by PocketSphinx on real speech."""

from __future__ import annotations

import io
import itertools
import json
import math
import pickle
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from codec.cli import main
from codec.core.errors import UserError
from codec.data.audio import read_audio
from codec.data.manifest import read_manifest
from data_prep.align import Recording, align_recording, open_aligner
from data_prep.align_torch import Labels, label_runs, load_aligner
from data_prep.align_words import Aligner, spoken_words
from tests.conftest import SHARED
from tests.data.makers import write_noise

LABELS = ("<blank>", "HH", "AH", "L", "OW", "SIL")
DICTIONARY = ";;; words\nhello HH AH0 L OW1\nhello HH\nlo L OW1\nall AH L L\nuh-oh AH OW\n"
RATE, FRAME = 8000, 80  # 10 ms
SPEECH = SHARED / "speech"


class Loudness(nn.Module):
    """Hears label i where the signal is a constant i / 10, and the blank where it is 0; frames of 80 samples."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.Parameter(torch.arange(len(LABELS)) / 10)

    def forward(self, signal: Tensor) -> Tensor:
        means = nn.functional.avg_pool1d(signal[:, None], FRAME)[:, 0, :, None]
        return (-1000 * (means - self.levels) ** 2).log_softmax(-1)


@dataclass(frozen=True)
class Files:
    model: Path
    labels: Path
    dictionary: Path

    def command(self, manifest: Path, out: Path, *more: str) -> list[str]:
        files = ["--acoustic-model", self.model, "--labels", self.labels, "--dictionary", self.dictionary]
        options = ["--aligner", "torch", *map(str, files), "--model-rate", str(RATE), "--workers", "1"]
        return ["align", str(manifest), str(out), *options, *more]

    def aligner(self) -> Aligner:
        return load_aligner(self.model, self.labels, dictionary=self.dictionary, sample_rate=RATE)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("acoustic")
    made = Files(folder / "loudness.pt2", folder / "labels.txt", folder / "words.dict")
    samples = torch.export.Dim("samples", min=2 * FRAME)
    program = torch.export.export(Loudness(), (torch.zeros(1, RATE),), dynamic_shapes={"signal": {1: samples}})
    torch.export.save(program, made.model)
    made.labels.write_text("\n".join(LABELS) + "\n")
    made.dictionary.write_text(DICTIONARY)
    return made


def write_levels(path: Path, frames: list[tuple[str, int]]) -> None:
    """A recording of labels (`-` is silence), each for a number of frames."""
    tenths = [0 if label == "-" else LABELS.index(label) for label, count in frames for _ in range(count)]
    soundfile.write(path, np.repeat(np.array(tenths) / 10, FRAME), RATE)


def write_corpus(folder: Path, rows: list[dict[str, object]]) -> Path:
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Four recordings that say their transcripts, in two splits, and three that cannot be aligned."""
    rows: list[dict[str, object]] = []
    for index, pause in enumerate((3, 0, 7, 1)):
        name = f"{index}.wav"
        write_levels(tmp_path / name, [("-", 2 + index), ("L", 3), ("OW", 4), ("-", pause), ("AH", 2), ("OW", 5)])
        rows.append({"path": name, "speaker": f"s{index % 2}", "transcript": "Lo, uh-oh!", "split": "ab"[index // 2]})
    write_levels(tmp_path / "odd.wav", [("L", 3)])
    rows.insert(1, {"path": "odd.wav", "transcript": "lo zorblax", "split": "a"})
    rows.append({"path": "odd.wav", "split": "b"})
    rows.append({"path": "gone.wav", "transcript": "lo", "split": "b"})
    return write_corpus(tmp_path, rows)


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_times_are_those_the_recording_was_made_with(files: Files, tmp_path: Path) -> None:
    frames = [("-", 5), ("HH", 3), ("AH", 4), ("-", 2), ("L", 1), ("OW", 6), ("SIL", 4), ("L", 2), ("OW", 3), ("-", 1)]
    write_levels(tmp_path / "a.wav", frames)
    recording = Recording(tmp_path / "a.wav", "a.wav", "me", "Hello -- lo.")
    line = json.loads(align_recording(files.aligner(), recording))
    assert line == {
        "path": "a.wav",
        "speaker": "me",
        "duration": 0.31,
        "words": [
            ["<sil>", 0.0, 0.05],
            ["hello", 0.05, 0.21],
            ["<sil>", 0.21, 0.25],  # the model's own label of silence counts as blank
            ["lo", 0.25, 0.3],
            ["<sil>", 0.3, 0.31],
        ],
        "phones": [
            ["SIL", 0.0, 0.05],
            ["HH", 0.05, 0.08],
            ["AH", 0.08, 0.13],  # two blank frames within the word: one for either side
            ["L", 0.13, 0.15],
            ["OW", 0.15, 0.21],
            ["SIL", 0.21, 0.25],
            ["L", 0.25, 0.27],
            ["OW", 0.27, 0.3],
            ["SIL", 0.3, 0.31],
        ],
    }


def test_a_recording_of_another_rate_has_the_same_times(files: Files, tmp_path: Path) -> None:
    write_levels(tmp_path / "a.wav", [("-", 5), ("L", 13), ("OW", 14), ("-", 8)])
    signal, _ = read_audio(tmp_path / "a.wav", sample_rate=48000)
    soundfile.write(tmp_path / "b.wav", np.stack([signal[0], signal[0]], axis=1), 48000)
    times = [
        json.loads(align_recording(files.aligner(), Recording(tmp_path / name, "", None, "lo")))["phones"]
        for name in ("a.wav", "b.wav")
    ]
    assert [phone for phone, *_ in times[0]] == [phone for phone, *_ in times[1]] == ["SIL", "L", "OW", "SIL"]
    np.testing.assert_allclose([row[1:] for row in times[0]], [row[1:] for row in times[1]], atol=0.0101)  # one frame


@given(
    seed=st.integers(0, 10_000),
    labels=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    num_frames=st.integers(1, 6),
)
def test_the_path_is_the_likeliest_of_all_that_read_as_the_labels(
    seed: int, labels: list[int], num_frames: int
) -> None:
    scores = torch.randn(num_frames, 4, generator=torch.Generator().manual_seed(seed)).log_softmax(1)
    readings = {path: read(path) for path in itertools.product(range(4), repeat=num_frames)}
    possible = [path for path, reading in readings.items() if reading == labels]
    if not possible:
        with pytest.raises(UserError, match="frames or more"):
            label_runs(scores, labels)
        return
    best = max(possible, key=lambda path: sum(float(scores[frame, label]) for frame, label in enumerate(path)))
    expected, start = [], 0
    for label, group in itertools.groupby(best):
        stop = start + len(list(group))
        expected += [(start, stop)] if label else []
        start = stop
    assert label_runs(scores, labels) == expected


def read(path: tuple[int, ...]) -> list[int]:
    """What a path says: repeats once, blanks not at all."""
    return [label for label, _ in itertools.groupby(path) if label]


def test_words_are_read_without_punctuation_and_hyphens_only_where_they_are_words() -> None:
    known = {"it's", "'tis", "o'clock", "well", "known", "uh-oh", "seven", "said"}
    text = "“Well-known,” it\u2019s SEVEN o\u2019clock—'tis 'said' (uh-oh)..."
    words = ["well", "known", "it's", "seven", "o'clock", "'tis", "said", "uh-oh"]
    assert spoken_words(text, known.__contains__) == words
    with pytest.raises(UserError, match=r"not in the dictionary: &, 5$"):
        spoken_words("seven & 5 well, 5", known.__contains__)
    with pytest.raises(UserError, match="no words"):
        spoken_words("...", known.__contains__)


def test_labels_are_found_whatever_the_case_and_the_stress() -> None:
    labels = Labels(("-", "AH", "AH1", "t", "B", "b"))
    found = [labels.of(name) for name in ("AH0", "AH1", "ah2", "T", "b", "B", "-", "X")]
    assert found == [1, 2, 1, 3, 5, 4, None, None]


def test_without_a_dictionary_words_are_spelled(files: Files, tmp_path: Path) -> None:
    letters = tmp_path / "letters.txt"
    letters.write_text("<pad>\nO\nL\n'\nE\n|\n")
    write_levels(tmp_path / "a.wav", [("-", 2), ("AH", 3), ("HH", 3)])  # 0.2 and 0.1: L and O
    aligner = load_aligner(files.model, letters, sample_rate=RATE)
    line = json.loads(align_recording(aligner, Recording(tmp_path / "a.wav", "", None, "LO")))
    assert line["phones"] == [["SIL", 0.0, 0.02], ["L", 0.02, 0.05], ["O", 0.05, 0.08]]
    with pytest.raises(UserError, match="not in the dictionary: hello"):
        align_recording(aligner, Recording(tmp_path / "a.wav", "", None, "hello"))


def test_the_command_writes_what_can_be_aligned_and_lists_the_rest(
    files: Files, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out" / "phones.jsonl"
    assert main(files.command(corpus, out, "--workers", "2")) == 0
    assert "4 aligned" in (said := capsys.readouterr().err) and "3 skipped" in said
    lines = lines_of(out)
    assert [line["path"] for line in lines] == ["0.wav", "1.wav", "2.wav", "3.wav"]
    for index, line in enumerate(lines):
        assert line["phones"][1] == ["L", round(0.02 + index / 100, 2), round(0.05 + index / 100, 2)]
    reasons = {Path(line["path"]).name + str(i): line["reason"] for i, line in enumerate(lines_of(skipped(out)))}
    assert len(reasons) == 3
    assert "cannot" in reasons["gone.wav0"] or "no such file" in reasons["gone.wav0"].lower()
    assert reasons["odd.wav1"] == "not in the dictionary: zorblax"
    assert reasons["odd.wav2"] == "the manifest has no transcript of it"
    assert {path.name for path in out.parent.iterdir()} == {
        "phones.jsonl",
        "phones.skipped.jsonl",
        "phones.made_by.json",
    }


def test_a_split_and_a_limit_take_part_of_the_manifest(files: Files, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "phones.jsonl"
    assert main(files.command(corpus, out, "--split", "b", "--limit", "1")) == 0
    assert [line["path"] for line in lines_of(out)] == ["2.wav"]
    assert not skipped(out).exists()
    assert main(files.command(corpus, out, "--resume", "--split", "a")) == 0  # what is there stays
    assert [line["path"] for line in lines_of(out)] == ["0.wav", "1.wav", "2.wav"]


def test_a_run_that_was_stopped_is_resumed_and_what_it_has_is_not_done_again(
    files: Files, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, unfinished = tmp_path / "phones.jsonl", tmp_path / "phones.unfinished.jsonl"
    assert main(files.command(corpus, out)) == 0
    whole = out.read_text()
    first, second, *_ = whole.splitlines(keepends=True)
    unfinished.write_text(second.replace('"s1"', '"kept"') + first[:-9])  # the second came first; the first is cut off
    out.unlink()
    assert main(files.command(corpus, out)) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(files.command(corpus, out, "--resume")) == 0
    assert "3 aligned, 1 kept" in capsys.readouterr().err
    assert out.read_text() == whole.replace('"s1"', '"kept"', 1)
    assert not unfinished.exists()


def test_a_run_with_another_model_or_over_a_strange_file_is_not_resumed(
    files: Files, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "phones.jsonl"
    assert main(files.command(corpus, out)) == 0
    made = out.read_text()
    assert main([*files.command(corpus, out, "--resume"), "--model-rate", "16000"]) == 2
    assert "was begun with" in capsys.readouterr().err
    (tmp_path / "phones.made_by.json").unlink()
    assert main(files.command(corpus, out, "--resume")) == 2
    assert "was not made by" in capsys.readouterr().err
    assert out.read_text() == made


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("labels.txt", b"a\nb\n", "says hello with HH"),
        ("labels.txt", "\n".join([*LABELS, "Z"]).encode(), r"asks for \[1, frames, 7\]"),
        ("labels.txt", b"\xff", "is not text"),
        ("model.pt2", b"nothing", "write it with torch.export.save"),
    ],
)
def test_files_that_do_not_fit_are_told_before_anything_is_aligned(
    files: Files, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    labels, model = tmp_path / "labels.txt", tmp_path / "model.pt2"
    labels.write_text("\n".join(LABELS))
    model.write_bytes(files.model.read_bytes())
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_aligner(model, labels, dictionary=files.dictionary, sample_rate=RATE)


class Trap:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self._trace,)


@pytest.mark.parametrize("where", ["sample_inputs/model.pt", "weights/weight_0", "constants/opaque_obj_0"])
def test_a_model_with_pickled_objects_is_refused_before_they_are_unpickled(
    files: Files, tmp_path: Path, where: str
) -> None:
    trace = tmp_path / "sprung"
    buffer = io.BytesIO()
    torch.save(Trap(trace), buffer)
    payload = {"path_name": where.rpartition("/")[2], "is_param": False, "use_pickle": True, "tensor_meta": None}
    spoiled = tmp_path / "spoiled.pt2"
    with zipfile.ZipFile(files.model) as good, zipfile.ZipFile(spoiled, "w") as bad:
        root = good.namelist()[0].partition("/")[0]
        for name in good.namelist():
            content = good.read(name)
            if name.endswith(f"{where.partition('/')[0]}_config.json"):
                content = json.dumps({"config": {"levels": payload}}).encode()
            if name != f"{root}/data/{where}":
                bad.writestr(name, content)
        opaque = where.startswith("constants")
        bad.writestr(f"{root}/data/{where}", pickle.dumps(Trap(trace)) if opaque else buffer.getvalue())
    with pytest.raises(UserError, match="pickled"):
        load_aligner(spoiled, files.labels, sample_rate=RATE)
    assert not trace.exists()


def test_a_missing_package_is_one_line_that_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(UserError, match=r"pip install 'vq-codec\[align\]'"):
        open_aligner("pocketsphinx")


def test_options_of_the_other_aligner_and_missing_ones_are_refused() -> None:
    with pytest.raises(UserError, match="--aligner torch"):
        open_aligner("pocketsphinx", labels="labels.txt")
    with pytest.raises(UserError, match="needs --acoustic-model and --labels"):
        open_aligner("torch", labels="labels.txt")


def test_a_corpus_of_which_nothing_can_be_aligned_is_a_mistake(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_noise(tmp_path / "a.wav", 4000)
    manifest = write_corpus(tmp_path, [{"path": "a.wav"}])
    out = tmp_path / "phones.jsonl"
    assert main(files.command(manifest, out)) == 2
    assert "nothing is left, 1 recording skipped" in capsys.readouterr().err
    assert skipped(out).exists() and not out.exists() and not (tmp_path / "phones.unfinished.jsonl").exists()
    assert main(files.command(manifest, manifest)) == 2  # it would write over the manifest
    assert "a file of its own" in capsys.readouterr().err


def skipped(out: Path) -> Path:
    return out.with_suffix(".skipped.jsonl")


@pytest.mark.shared
def test_pocketsphinx_finds_the_times_that_are_known_7_8_ms_later() -> None:
    """The known times are PocketSphinx's, too: this shows that it is used as it should be, not how good it is.

    It counts from where its windows of 25.6 ms begin, 10 ms apart: what they hear lies 7.8 ms after that.
    """
    pytest.importorskip("pocketsphinx")
    known = {line["path"]: line for line in lines_of(SPEECH / "devclean_phones.jsonl")}
    entries = {entry.path: entry for entry in read_manifest(SPEECH / "manifest.jsonl", split="units")}
    aligner = open_aligner("pocketsphinx")
    later: list[float] = []
    for path in list(known)[::43][:4]:
        entry = entries[SPEECH / path]
        line = json.loads(align_recording(aligner, Recording(entry.path, path, entry.speaker, entry.transcript)))
        assert math.isclose(line["duration"], known[path]["duration"], abs_tol=1e-3)
        assert line["phones"][0][1] == 0 and line["phones"][-1][2] <= line["duration"]
        ends = np.array([end for _, _, end in line["phones"]])
        later += [min(ends - end, key=abs) for _, _, end in known[path]["phones"][:-1]]
    assert np.median(later) == pytest.approx(0.0078, abs=1e-4)
    assert np.mean(np.abs(later) < 0.0201) > 0.95  # its choice among pronunciations depends on what it heard before


@pytest.mark.shared
def test_pocketsphinx_finds_the_same_whatever_it_heard_before() -> None:
    pytest.importorskip("pocketsphinx")
    known = [line["path"] for line in lines_of(SPEECH / "devclean_phones.jsonl")][:4]
    entries = {entry.path: entry for entry in read_manifest(SPEECH / "manifest.jsonl", split="units")}
    recordings = [Recording(SPEECH / path, path, None, entries[SPEECH / path].transcript) for path in known]
    aligner = open_aligner("pocketsphinx")
    forwards = [align_recording(aligner, recording) for recording in recordings]
    backwards = [align_recording(aligner, recording) for recording in recordings[::-1]]
    assert forwards == backwards[::-1]


@pytest.mark.shared
def test_pocketsphinx_says_which_words_it_lacks_and_when_a_transcript_is_of_another_recording() -> None:
    pytest.importorskip("pocketsphinx")
    path = SPEECH / lines_of(SPEECH / "devclean_phones.jsonl")[0]["path"]
    aligner = open_aligner("pocketsphinx")
    with pytest.raises(UserError, match="not in the dictionary: zorblax"):
        align_recording(aligner, Recording(path, "", None, "the zorblax"))
    with pytest.raises(UserError, match="does not say its transcript"):
        align_recording(aligner, Recording(path, "", None, "and then they all went home again " * 10))
