from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.core.errors import UserError
from codec.data.manifest import Entry, read_manifest, write_manifest

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"

words = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\x85\u2028\u2029"), max_size=20)
entries = st.builds(
    Entry,
    path=st.from_regex(r"[a-z]{1,8}/[a-zA-Z0-9 _?-]{1,12}\.flac", fullmatch=True).map(Path),
    kind=st.just("audio"),
    split=words,
    transcript=st.none() | words,
    duration_s=st.none() | st.floats(0, 1e6),
    num_samples=st.none() | st.integers(0, 2**40),
)


@given(st.lists(entries, min_size=1, max_size=5))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, written: list[Entry]) -> None:
    folder = tmp_path_factory.mktemp("manifest")
    placed = [entry.model_copy(update={"path": folder / entry.path}) for entry in written]
    assert write_manifest(folder / "m.jsonl", placed) == len(placed)
    assert list(read_manifest(folder / "m.jsonl")) == placed


def test_a_moved_corpus_is_still_found(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    write_manifest(old / "m.jsonl", [Entry(path=old / "a" / "b.wav", kind="audio")])
    old.rename(tmp_path / "new")
    (entry,) = read_manifest(tmp_path / "new" / "m.jsonl")
    assert entry.path == tmp_path / "new" / "a" / "b.wav"


def test_files_outside_the_manifests_folder_keep_absolute_paths(tmp_path: Path) -> None:
    elsewhere = tmp_path / "corpus" / "a.png"
    write_manifest(tmp_path / "lists" / "m.jsonl", [Entry(path=elsewhere, kind="image")])
    (entry,) = read_manifest(tmp_path / "lists" / "m.jsonl")
    assert entry.path == elsewhere


def test_unknown_keys_are_kept(tmp_path: Path) -> None:
    source, copy = tmp_path / "m.jsonl", tmp_path / "copy.jsonl"
    source.write_text('{"path": "a.wav", "chapter": 7, "phones": [["AH", 0, 1]]}\n')
    write_manifest(copy, read_manifest(source))
    tree = json.loads(copy.read_text())
    assert (tree["chapter"], tree["phones"], tree["path"]) == (7, [["AH", 0, 1]], "a.wav")


def test_the_kind_follows_from_the_suffix(tmp_path: Path) -> None:
    source = tmp_path / "m.jsonl"
    source.write_text('{"path": "a.FLAC"}\n\n{"path": "b.jpg"}\n')
    assert [entry.kind for entry in read_manifest(source)] == ["audio", "image"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"path": "a.wav"}\n{"path": \n', "line 2 is not JSON"),
        ('{"kind": "audio"}\n', "line 1: path"),
        ('{"path": "a.wav", "duration_s": "long"}\n', "duration_s"),
        ('{"path": "a.txt"}\n', "add a kind"),
        ("[1, 2]\n", "line 1"),
        ("\n", "no entries"),
    ],
)
def test_a_bad_manifest_is_one_line_that_names_the_place(tmp_path: Path, content: str, complaint: str) -> None:
    source = tmp_path / "m.jsonl"
    source.write_text(content)
    with pytest.raises(UserError, match=complaint) as error:
        read_manifest(source)
    assert "\n" not in str(error.value) and str(source) in str(error.value)


def test_a_missing_or_binary_manifest_is_a_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_bytes(b"\xff\xfe\x00")
    for name in ("none.jsonl", "b.jsonl"):
        with pytest.raises(UserError, match=name):
            read_manifest(tmp_path / name)


def test_an_absent_split_names_those_present(tmp_path: Path) -> None:
    source = tmp_path / "m.jsonl"
    source.write_text('{"path": "a.wav", "split": "dev"}\n{"path": "b.wav", "split": "test"}\n')
    assert len(read_manifest(source, split=("dev", "train"))) == 1
    with pytest.raises(UserError, match="it has: dev, test"):
        read_manifest(source, split="train")


@pytest.mark.shared
@pytest.mark.parametrize(("name", "splits"), [("speech", {"train", "dev", "units"}), ("images", {"train", "test"})])
def test_the_shared_manifests_are_read_as_they_are(name: str, splits: set[str]) -> None:
    source = SHARED / name / "manifest.jsonl"
    if not source.exists():
        pytest.skip(f"{source} is absent")
    manifest = read_manifest(source)
    assert set(manifest.splits()) == splits
    assert all(entry.path.exists() for entry in manifest)
