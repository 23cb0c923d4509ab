"""Each corpus on a tiny tree in its true layout."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from codec.core.bundled import data_prep_folder
from codec.core.errors import UserError
from codec.data.image import read_pixels
from codec.data.manifest import Entry, read_manifest
from data_prep import imagenet
from data_prep.registry import CORPORA, prepare
from tests.data.makers import write_noise, write_picture


def write_librispeech(root: Path) -> None:
    for subset, speaker, chapter in (
        ("train-clean-100", "19", "198"),
        ("dev-clean", "84", "121"),
        ("test-other", "7", "9"),
    ):
        folder = root / "LibriSpeech" / subset / speaker / chapter
        for number in range(2):
            write_noise(folder / f"{speaker}-{chapter}-{number:04d}.flac", 4000)
        words = [f"{speaker}-{chapter}-{number:04d} SAY {number} WORDS" for number in range(2)]
        (folder / f"{speaker}-{chapter}.trans.txt").write_text("\n".join(words) + "\n")
    (root / "LibriSpeech" / "SPEAKERS.TXT").write_text(";ID |SEX\n")


def write_vctk(root: Path) -> None:
    for speaker in ("p225", "p226", "p315", "s5"):
        for microphone in ("mic1", "mic2"):
            write_noise(root / "wav48_silence_trimmed" / speaker / f"{speaker}_001_{microphone}.flac", 9600, rate=48000)
        if speaker != "p315":
            text = root / "txt" / speaker / f"{speaker}_001.txt"
            text.parent.mkdir(parents=True)
            text.write_text("Please call Stella.\n")
    (root / "speaker-info.txt").write_text("ID  AGE  GENDER  ACCENTS  REGION COMMENTS\n")


def write_ljspeech(root: Path) -> None:
    names = [f"LJ001-{number:04d}" for number in range(1, 41)]
    for name in names:
        write_noise(root / "LJSpeech-1.1" / "wavs" / f"{name}.wav", 4000, rate=22050)
    lines = [f'{name}|Printing, in 1455 "only"|Printing, in fourteen fifty-five "only"' for name in names]
    (root / "LJSpeech-1.1" / "metadata.csv").write_text("\n".join(lines))


def write_cifar10(root: Path) -> None:
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name in [f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"]:
        records = generator.integers(0, 256, (3, 3073), dtype=np.uint8)
        records[:, 0] = [0, 5, 9]
        (folder / name).write_bytes(records.tobytes())
    (folder / "batches.meta.txt").write_text("airplane\n")


def write_imagenet(root: Path) -> None:
    data = root / "ILSVRC" / "Data" / "CLS-LOC"
    for wnid in ("n01440764", "n01443537"):
        write_picture(data / "train" / wnid / f"{wnid}_10026.JPEG", 40, 30)
    Image.fromarray(read_pixels(data / "train" / "n01440764" / "n01440764_10026.JPEG")).convert("CMYK").save(
        data / "train" / "n01440764" / "n01440764_7.JPEG"
    )
    write_picture(data / "val" / "ILSVRC2012_val_00000001.JPEG", 30, 40)
    write_picture(data / "test" / "ILSVRC2012_test_00000001.JPEG", 30, 40)


def write_ffhq(root: Path) -> None:
    for number in (0, 59_999, 60_000, 69_999):
        folder = root / "images1024x1024" / f"{number // 1000 * 1000:05d}"
        write_picture(folder / f"{number:05d}.png", 32, 32)
    licence = {"metadata": {"license": "Attribution License"}}
    (root / "ffhq-dataset-v2.json").write_text(json.dumps({"0": licence, "60000": licence}))


def write_folder(root: Path) -> None:
    for number in range(20):
        write_noise(root / "voices" / f"{number}.wav", 4000, seed=number)
        write_picture(root / "pictures" / "deep" / f"{number}.png", 16, 16, seed=number)
    (root / "notes.txt").write_text("not media")


@dataclass(frozen=True)
class Tree:
    """How to make a corpus, how many files it then has per split, and one of them to break."""

    write: Callable[[Path], None]
    splits: dict[str, int] | None
    victim: str


TREES = {
    "folder": Tree(write_folder, None, "voices/3.wav"),
    "librispeech": Tree(
        write_librispeech,
        {"train": 2, "validation": 2, "test": 2},
        "LibriSpeech/dev-clean/84/121/84-121-0000.flac",
    ),
    "vctk": Tree(write_vctk, {"train": 3, "validation": 1}, "wav48_silence_trimmed/p225/p225_001_mic1.flac"),
    "ljspeech": Tree(write_ljspeech, None, "LJSpeech-1.1/wavs/LJ001-0007.wav"),
    "cifar10": Tree(write_cifar10, {"train": 15, "test": 3}, ""),
    "imagenet": Tree(
        write_imagenet,
        {"train": 3, "validation": 1, "test": 1},
        "ILSVRC/Data/CLS-LOC/train/n01443537/n01443537_10026.JPEG",
    ),
    "ffhq": Tree(write_ffhq, {"train": 2, "validation": 2}, "images1024x1024/59000/59999.png"),
}


def prepared(corpus: str, folder: Path) -> list[Entry]:
    TREES[corpus].write(folder / "source")
    report = prepare(corpus, folder / "source", folder / "out")
    entries = list(read_manifest(folder / "out" / "manifest.jsonl"))
    assert report.written == len(entries) and report.skipped == []
    return entries


def test_every_corpus_is_tested_and_documented() -> None:
    assert set(TREES) == set(CORPORA)
    for corpus in CORPORA:
        text = (data_prep_folder() / f"{corpus}.py").read_text(encoding="utf-8").split('"""')[1]
        assert all(word in text for word in ("Licence", "Layout", "Splits")), corpus


@pytest.mark.parametrize("corpus", CORPORA)
def test_every_file_of_the_true_layout_is_found_once_and_measured(corpus: str, tmp_path: Path) -> None:
    entries = prepared(corpus, tmp_path)
    splits = {split: sum(entry.split == split for entry in entries) for split in {e.split for e in entries}}
    assert TREES[corpus].splits in (None, splits)
    assert len({entry.path for entry in entries}) == len(entries)
    for entry in entries:
        assert entry.path.exists()
        assert entry.num_samples and entry.sample_rate if entry.kind == "audio" else entry.width and entry.height


@pytest.mark.parametrize("corpus", [name for name in CORPORA if TREES[name].victim])
@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_a_bad_file_is_listed_and_left_out(corpus: str, damage: str, tmp_path: Path) -> None:
    before = prepared(corpus, tmp_path)
    victim = tmp_path / "source" / TREES[corpus].victim
    content = victim.read_bytes()
    victim.write_bytes({"empty": b"", "text": b"I am a text.\n" * 99, "cut": content[: len(content) // 2]}[damage])
    if damage == "cut" and victim.suffix == ".wav":
        victim.write_bytes(content[:60])  # a wav cut anywhere is a shorter wav
    report = prepare(corpus, tmp_path / "source", tmp_path / "again.jsonl")
    assert [path for path, _ in report.skipped] == [victim]
    assert report.written == len(before) - 1
    (line,) = (tmp_path / "again.skipped.jsonl").read_text().splitlines()
    assert json.loads(line)["path"] == str(victim) and json.loads(line)["reason"]


@pytest.mark.parametrize("corpus", CORPORA)
def test_two_runs_write_the_same_bytes(corpus: str, tmp_path: Path) -> None:
    prepared(corpus, tmp_path)
    first = (tmp_path / "out" / "manifest.jsonl").read_bytes()
    prepare(corpus, tmp_path / "source", tmp_path / "out", workers=1)
    assert (tmp_path / "out" / "manifest.jsonl").read_bytes() == first


@pytest.mark.parametrize("corpus", CORPORA)
def test_a_folder_of_something_else_is_a_users_mistake(corpus: str, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    for source in (tmp_path / "notes", tmp_path / "missing"):
        with pytest.raises(UserError) as error:
            prepare(corpus, source, tmp_path / "out")
        assert "\n" not in str(error.value)
    assert not (tmp_path / "out" / "manifest.jsonl").exists()


@pytest.mark.parametrize("corpus", CORPORA)
def test_every_corpus_takes_the_common_options(corpus: str) -> None:
    module = __import__(f"data_prep.{corpus}", fromlist=["prepare"])
    assert {"download", "workers", "progress", "limits"} <= set(inspect.signature(module.prepare).parameters)


def test_librispeech_keeps_speakers_transcripts_and_chosen_subsets(tmp_path: Path) -> None:
    entry = next(entry for entry in prepared("librispeech", tmp_path) if entry.path.stem == "84-121-0001")
    assert (entry.speaker, entry.transcript, entry.split) == ("84", "SAY 1 WORDS", "validation")
    report = prepare("librispeech", tmp_path / "source" / "LibriSpeech", tmp_path / "out", subsets=["dev-clean"])
    assert report.splits == {"validation": 2}
    with pytest.raises(UserError, match="no dev-dirty"):
        prepare("librispeech", tmp_path / "source", tmp_path / "out", subsets=["dev-dirty"])


def test_vctk_never_shares_a_speaker_between_splits_and_lives_without_transcripts(tmp_path: Path) -> None:
    entries = prepared("vctk", tmp_path)
    assert {entry.speaker: entry.transcript for entry in entries}["p315"] is None
    assert {entry.speaker: entry.transcript for entry in entries}["s5"] == "Please call Stella."
    report = prepare("vctk", tmp_path / "source", tmp_path / "mic2.jsonl", microphone="mic2", fraction=0.5)
    second = list(read_manifest(report.manifest))
    assert all(entry.path.stem.endswith("_mic2") for entry in second)
    assert report.splits == {"train": 2, "validation": 2}


def test_ljspeech_reads_the_normalised_text_as_it_stands(tmp_path: Path) -> None:
    entries = prepared("ljspeech", tmp_path)
    assert entries[0].transcript == 'Printing, in fourteen fifty-five "only"'
    assert {entry.split for entry in entries} == {"train", "validation"}


def test_cifar10_pictures_have_the_bytes_of_their_records(tmp_path: Path) -> None:
    entries = prepared("cifar10", tmp_path)
    batch = np.frombuffer((tmp_path / "source/cifar-10-batches-bin/test_batch.bin").read_bytes(), np.uint8)
    record = batch.reshape(3, 3073)[1]
    entry = next(entry for entry in entries if entry.path.name == "test_batch-00001.png")
    pixels = read_pixels(entry.path)
    assert all(pixels[y, x, c] == record[1 + c * 1024 + y * 32 + x] for c, y, x in ((0, 0, 0), (2, 31, 5), (1, 7, 30)))
    assert entry.model_dump()["label"] == "dog"


def test_cifar10_refuses_a_batch_that_is_not_whole(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "source")
    batch = tmp_path / "source" / "cifar-10-batches-bin" / "data_batch_2.bin"
    batch.write_bytes(batch.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"data_batch_2\.bin"):
        prepare("cifar10", tmp_path / "source", tmp_path / "out")


def test_imagenet_keeps_the_class_and_a_flat_validation_folder_has_none(tmp_path: Path) -> None:
    labels = {entry.path.name: entry.model_dump().get("label") for entry in prepared("imagenet", tmp_path)}
    assert labels["n01443537_10026.JPEG"] == "n01443537" and labels["ILSVRC2012_val_00000001.JPEG"] is None


def test_ffhq_keeps_the_licence_of_each_picture(tmp_path: Path) -> None:
    licences = {entry.path.name: entry.licence for entry in prepared("ffhq", tmp_path)}
    assert licences["60000.png"] == "Attribution License" and "BY-NC-SA" in str(licences["69999.png"])


@pytest.mark.parametrize("corpus", ["folder", "imagenet", "ffhq"])
def test_what_cannot_be_fetched_says_how_to_get_it(corpus: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="download"):
        prepare(corpus, tmp_path, tmp_path / "out", download=True)


def test_an_unknown_corpus_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="librispeech, vctk"):
        prepare("moon", tmp_path, tmp_path)


def test_a_file_keeps_its_split_when_others_come_and_go(tmp_path: Path) -> None:
    before = {entry.path: entry.split for entry in prepared("folder", tmp_path)}
    for number in range(20, 60):
        write_picture(tmp_path / "source" / "pictures" / f"{number}.png", 16, 16)
    prepare("folder", tmp_path / "source", tmp_path / "out")
    after = {entry.path: entry.split for entry in read_manifest(tmp_path / "out" / "manifest.jsonl")}
    assert len(after) == len(before) + 40
    assert all(after[path] == split for path, split in before.items())
    assert {"train", "validation"} == set(after.values())


def test_a_folder_can_be_asked_for_one_kind_only(tmp_path: Path) -> None:
    write_folder(tmp_path / "source")
    prepare("folder", tmp_path / "source", tmp_path / "out", kind="image", fraction=0.0)
    entries = list(read_manifest(tmp_path / "out" / "manifest.jsonl"))
    assert {entry.kind for entry in entries} == {"image"} and {entry.split for entry in entries} == {"train"}


def test_silent_short_blank_and_tiny_files_are_skipped_with_their_reason(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_noise(source / "good.wav", 4000)
    soundfile.write(source / "silent.wav", np.zeros(4000), 16000)
    write_noise(source / "short.wav", 100)
    Image.new("RGB", (50, 50), (9, 9, 9)).save(source / "blank.png")
    write_picture(source / "tiny.png", 3, 50)
    frames = np.full(4000, 0.1, np.float32)
    frames[77] = np.inf
    soundfile.write(source / "infinite.wav", frames, 16000, subtype="FLOAT")
    (source / "secret.wav").symlink_to(source / "nowhere.wav")
    seen: list[int] = []
    report = prepare("folder", source, tmp_path / "out", progress=seen.append)
    reasons = {path.name: reason for path, reason in report.skipped}
    expected = {
        "silent.wav": "silent",
        "short.wav": "too short",
        "blank.png": "blank",
        "tiny.png": "too small",
        "infinite.wav": "infinite",
        "secret.wav": "no such file",
    }
    assert {name: word in reasons[name] for name, word in expected.items()} == dict.fromkeys(expected, True)
    assert report.written == 1 and seen == list(range(1, 8))


def test_a_corpus_without_a_single_sound_file_writes_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.wav").write_bytes(b"")
    with pytest.raises(UserError, match="nothing is left, 1 file skipped"):
        prepare("folder", tmp_path / "source", tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.jsonl").exists()
    assert "empty" in (tmp_path / "out" / "manifest.skipped.jsonl").read_text()


def test_imagenet_is_found_when_only_validation_pictures_are_there(tmp_path: Path) -> None:
    write_picture(tmp_path / "source" / "val" / "n01440764" / "ILSVRC2012_val_00000293.JPEG", 30, 40)
    report = imagenet.prepare(tmp_path / "source", tmp_path / "out")
    assert report.splits == {"validation": 1}


def write_speakers(root: Path) -> None:
    for place in ("ann/1.wav", "ann/evening/2.wav", "bob/3.wav", "4.wav"):
        write_noise(root / place, 4000)
    write_picture(root / "ann" / "face.png", 16, 16)
    (root / "ann" / "1.txt").write_text("Good  morning,\nall of you. \n", encoding="utf-8")
    (root / "bob" / "3.LAB").write_text("grüezi", encoding="utf-8-sig")
    (root / "bob" / "3.txt").write_text(" ")
    (root / "ann" / "evening" / "2.txt").write_text("\n")


def test_folders_name_speakers_and_texts_beside_recordings_say_what_is_said_if_asked(tmp_path: Path) -> None:
    write_speakers(tmp_path / "source")

    def told(**asked: bool) -> dict[str, tuple[object, object]]:
        prepare("folder", tmp_path / "source", tmp_path / "out", **asked)
        entries = read_manifest(tmp_path / "out" / "manifest.jsonl")
        return {entry.path.name: (entry.speaker, entry.model_dump().get("transcript")) for entry in entries}

    names = ("1.wav", "2.wav", "3.wav", "4.wav", "face.png")
    assert told() == dict.fromkeys(names, (None, None))
    assert told(speakers=True, transcripts=True) == {
        "1.wav": ("ann", "Good morning, all of you."),
        "2.wav": ("ann", None),
        "3.wav": ("bob", "grüezi"),
        "4.wav": (None, None),
        "face.png": (None, None),
    }
    assert told(speakers=True)["1.wav"] == ("ann", None)


@pytest.mark.parametrize(("asked", "named"), [("speakers", "of each into a folder"), ("transcripts", ".txt or .lab")])
def test_what_no_recording_tells_is_no_manifest(asked: str, named: str, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with pytest.raises(UserError, match="no files were found"):
        prepare("folder", tmp_path / "source", tmp_path / "out", **{asked: True})
    write_noise(tmp_path / "source" / "1.wav", 4000)
    with pytest.raises(UserError, match=f"no recording .*{named}.*--{asked}"):
        prepare("folder", tmp_path / "source", tmp_path / "out", **{asked: True})
    assert not (tmp_path / "out" / "manifest.jsonl").exists()


def test_a_recording_whose_transcript_cannot_be_read_is_left_out_with_the_reason(tmp_path: Path) -> None:
    write_speakers(tmp_path / "source")
    (tmp_path / "source" / "bob" / "3.lab").write_bytes("grüezi".encode("latin-1"))
    report = prepare("folder", tmp_path / "source", tmp_path / "out", transcripts=True)
    assert [(skipped.path.name, skipped.reason) for skipped in report.skipped] == [
        ("3.wav", "its transcript 3.lab is not UTF-8: save it as such")
    ]
    assert report.written == 4


def test_a_corpus_that_tells_its_speakers_itself_is_not_asked_to(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="librispeech has no option speakers"):
        prepare("librispeech", tmp_path, tmp_path / "out", speakers=True)
