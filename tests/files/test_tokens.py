"""Tokens of a corpus: rows from which each recording is heard again, the same whatever happened on the way."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from codec.checkpoint import load_model, save_model
from codec.core.errors import UserError
from codec.data.audio import write_audio
from codec.files import decode_file, encode_file
from codec.files.shards import column_kind
from codec.files.tokenizing import Tokenizing, tokenize_corpus
from codec.files.tokens import decode_tokens, read_tokens, write_tokens
from codec.models.tiny import tiny_model
from tests.files.media import tone
from tests.files.trees import contents, interrupted, recordings
from tests.models.kinds import CONFIGS, seasoned

FORMATS = ("npz", "parquet")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of models of sound of one channel, of two, and of two levels of codes."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("spectral", "causal-stereo", "sound-pyramid"):
        save_model(seasoned(CONFIGS[name]), folder / name)
    save_model(tiny_model("audio"), folder / "tiny")
    return {path.name: str(path) for path in folder.iterdir()}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Three recordings of two speakers in a folder beside the manifest, and one that is not there."""
    lines = []
    for index, (rate, channels) in enumerate(((16000, 1), (22050, 2), (8000, 1))):
        path = tmp_path / "corpus" / "wavs" / f"{index}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(path, tone(2000 + 531 * index, rate, channels), rate)
        lines.append({"path": f"wavs/{index}.wav", "speaker": f"s{index % 2}", "split": "train", "take": index})
    lines[1] |= {"transcript": "Grüße,\u2028zwei Zeilen\n", "take": None, "tags": ["a", 1], "gain": 0.5}
    lines.insert(1, {"path": "wavs/gone.wav", "split": "train"})
    lines.append({"path": "wavs/0.wav", "split": "test"})
    path = tmp_path / "corpus" / "manifest.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("shard_format", FORMATS)
@pytest.mark.parametrize("name", ["spectral", "causal-stereo", "sound-pyramid"])
def test_a_row_is_heard_as_its_recordings_file_is(
    tmp_path: Path, models: dict[str, str], manifest: Path, name: str, shard_format
) -> None:
    model = load_model(models[name], device="cpu")
    options = Tokenizing(model=models[name], num_active=1, shard_format=shard_format, shard_size=3, split="train")
    tokenize_corpus(manifest, tmp_path / "tokens", options, jobs=2)
    store = read_tokens(tmp_path / "tokens")
    rows = list(store)
    assert [row.path for row in rows] == ["wavs/0.wav", "wavs/1.wav", "wavs/2.wav"]
    for row in rows:
        coded, again = io.BytesIO(), io.BytesIO()
        mono = model.media.channels == 1
        encode_file(manifest.parent / row.path, coded, model, num_active=1, prior="none", mono=mono)
        write_tokens(store, row, again, model)
        assert again.getvalue() == coded.getvalue()
        decode_tokens(store, row, tmp_path / "heard.wav", model)
        coded.seek(0)
        decode_file(coded, tmp_path / "wanted.wav", model)
        assert (tmp_path / "heard.wav").read_bytes() == (tmp_path / "wanted.wav").read_bytes()


@pytest.mark.parametrize("shard_format", FORMATS)
def test_what_the_manifest_says_is_carried_along(
    tmp_path: Path, models: dict[str, str], manifest: Path, shard_format
) -> None:
    options = Tokenizing(model=models["tiny"], shard_format=shard_format, shard_size=2, split="train")
    report = tokenize_corpus(manifest, tmp_path / "tokens", options, jobs=1)
    assert list(report.failures) == ["wavs/gone.wav"]
    store = read_tokens(tmp_path / "tokens")
    assert len(store) == 3
    row = store.row("wavs/1.wav")
    assert (row.num_samples, row.sample_rate, row.channels) == (2531, 22050, 1)
    wanted = {"speaker": "s1", "transcript": "Grüße,\u2028zwei Zeilen\n", "take": None, "tags": ["a", 1], "gain": 0.5}
    assert row.columns == {"set": "", "split": "train", **wanted}
    assert store.row(2).columns["take"] == 2 and store.row(2).columns["transcript"] is None
    assert store.index.columns["take"] == "int" and store.index.columns["tags"] == "json"


def test_shards_are_read_without_the_toolkit(tmp_path: Path, models: dict[str, str], manifest: Path) -> None:
    for shard_format in FORMATS:
        options = Tokenizing(model=models["tiny"], shard_format=shard_format, split="train")
        tokenize_corpus(manifest, tmp_path / shard_format, options, jobs=1)
    model = load_model(models["tiny"], device="cpu")
    signal_, _ = soundfile.read(manifest.parent / "wavs" / "0.wav", dtype="float32")
    (wanted,) = model.encode(torch.from_numpy(signal_)[None, None])

    shard = np.load(tmp_path / "npz" / "shard-00000.npz")
    first = shard["level0"][: shard["frames"][0]]
    assert first.dtype == np.uint16
    np.testing.assert_array_equal(first.T, wanted[0].numpy())
    lines = bytes(shard["rows"]).decode().split("\n")
    assert [json.loads(line)["path"] for line in lines[:-1]] == ["wavs/0.wav", "wavs/1.wav", "wavs/2.wav"]

    from pyarrow import parquet

    table = parquet.read_table(tmp_path / "parquet" / "shard-00000.parquet")
    np.testing.assert_array_equal(np.array(table["level0"][0].as_py()).T, wanted[0].numpy())
    assert table["speaker"].to_pylist() == ["s0", "s1", "s0"]


@pytest.mark.parametrize("shard_format", FORMATS)
def test_a_run_that_was_killed_and_started_again_gives_what_an_undisturbed_one_gives(
    tmp_path: Path, models: dict[str, str], shard_format
) -> None:
    source = recordings(tmp_path / "in", 30)
    options = Tokenizing(model=models["tiny"], shard_format=shard_format, shard_size=4)
    tokenize_corpus(source, tmp_path / "whole", options, jobs=2)
    wanted, out = contents(tmp_path / "whole"), tmp_path / "out"
    arguments = ("tokenize", str(source), str(out), "-m", models["tiny"], "--shard-size", "4", "--jobs", "2")
    interrupted(*(*arguments, "--format", shard_format), when=lambda: any(out.glob("shard-*")), by=signal.SIGKILL)
    left = set(contents(out))
    assert 0 < sum(name.startswith("shard-") for name in left) < 8, "it was not ended half-way"
    if len(left) < len(wanted):
        with pytest.raises(UserError, match="of 8 shards"):
            read_tokens(out)
    report = tokenize_corpus(source, out, options, jobs=1)
    assert report.num_kept > 0
    assert contents(out) == wanted


def test_a_shard_that_lacks_a_row_is_made_again_once_it_can_be_whole(
    tmp_path: Path, models: dict[str, str], manifest: Path
) -> None:
    options = Tokenizing(model=models["tiny"], shard_size=2, split="train")
    tokenize_corpus(manifest, tmp_path / "tokens", options, jobs=1)
    write_audio(manifest.parent / "wavs" / "gone.wav", tone(900), 16000)
    report = tokenize_corpus(manifest, tmp_path / "tokens", options, jobs=1)
    assert (report.num_done, report.num_kept, report.failures) == (2, 2, {})
    assert [row.path for row in read_tokens(tmp_path / "tokens")][1] == "wavs/gone.wav"
    assert not (tmp_path / "tokens" / "failures.jsonl").exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, models: dict[str, str]) -> Path:
    """A folder of a recording that is listed twice and one that is none, twice too; and its tokens in each format."""
    folder = tmp_path_factory.mktemp("finished")
    write_audio(folder / "x.wav", tone(900), 16000)
    (folder / "broken.wav").write_bytes(b"no sound")
    lines = [json.dumps({"path": name}) + "\n" for name in ("x.wav", "broken.wav", "x.wav", "broken.wav")]
    (folder / "manifest.jsonl").write_text("".join(lines))
    for shard_format in FORMATS:
        options = Tokenizing(model=models["tiny"], shard_format=shard_format)
        report = tokenize_corpus(folder / "manifest.jsonl", folder / shard_format, options, jobs=1)
        assert (report.num_files, report.num_done) == (4, 2), "a path that fails twice is two recordings less"
    return folder


@given(st.sampled_from(FORMATS), st.floats(0, 1, exclude_max=True), st.integers(0, 255))
def test_a_damaged_shard_is_read_as_it_was_or_refused_in_a_line(
    finished: Path, tmp_path_factory: pytest.TempPathFactory, shard_format: str, place: float, change: int
) -> None:
    """Without a change it is cut there. Parquet has no checksums, so what is read may differ."""
    whole = read_tokens(finished / shard_format)
    folder = tmp_path_factory.getbasetemp() / "damaged"
    shutil.copytree(finished / shard_format, folder, dirs_exist_ok=True)
    shard = bytearray((finished / shard_format / whole.index.shard(0)).read_bytes())
    position = int(place * len(shard))
    shard[position:] = bytes([shard[position] ^ change]) + shard[position + 1 :] if change else b""
    (folder / whole.index.shard(0)).write_bytes(shard)
    damaged = read_tokens(folder)
    try:
        len(damaged)
        rows = list(damaged)
    except UserError as error:
        assert "is damaged" in str(error) and "run codec tokenize again" in str(error) and "\n" not in str(error)
    else:
        assert change, "a shard that was cut was read"
        if shard_format == "npz":
            for row, wanted in zip(rows, whole, strict=True):
                assert row.path == wanted.path
                np.testing.assert_array_equal(row.codes[0], wanted.codes[0])


def test_a_shard_that_is_damaged_or_older_than_a_recording_is_made_again(
    tmp_path: Path, models: dict[str, str]
) -> None:
    source, options = recordings(tmp_path / "in", 2), Tokenizing(model=models["tiny"], shard_size=2)
    (source / "broken.wav").unlink()
    tokenize_corpus(source, tmp_path / "tokens", options, jobs=1)
    wanted, shard = contents(tmp_path / "tokens"), tmp_path / "tokens" / "shard-00000.npz"
    data = wanted[shard.name]
    at = data.index(b"level0.npy") + 200  # in the codes, which counting the rows does not read
    for spoilt in (data[:100], b"", data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]):
        shard.write_bytes(spoilt)
        report = tokenize_corpus(source, tmp_path / "tokens", options, jobs=1)
        assert (report.num_done, report.num_kept) == (2, 0)
        assert contents(tmp_path / "tokens") == wanted
    os.utime(shard, (1, 1))
    assert tokenize_corpus(source, tmp_path / "tokens", options, jobs=1).num_done == 2
    (source / "a" / "001.wav").unlink()
    (source / "a" / "001.wav").symlink_to("nowhere")
    report = tokenize_corpus(source, tmp_path / "tokens", options, jobs=1)
    assert (report.num_kept, contents(tmp_path / "tokens")) == (2, wanted), "what is gone is heard no more"


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are UTF-8")
def test_a_name_that_is_not_utf_8_has_a_row_in_npz_and_is_refused_for_parquet(
    tmp_path: Path, models: dict[str, str]
) -> None:
    source, name = tmp_path / "in", os.fsdecode(b"good\xff.wav")
    source.mkdir()
    write_audio(source / name, tone(900), 16000)
    tokenize_corpus(source, tmp_path / "tokens", Tokenizing(model=models["tiny"]), jobs=1)
    assert read_tokens(tmp_path / "tokens").row(name).num_samples == 900
    with pytest.raises(UserError, match="is no name in UTF-8"):
        tokenize_corpus(source, tmp_path / "table", Tokenizing(model=models["tiny"], shard_format="parquet"), jobs=1)
    assert not (tmp_path / "table").exists()


def test_another_manifest_or_rate_in_a_folder_that_was_begun_is_refused(
    tmp_path: Path, models: dict[str, str], manifest: Path
) -> None:
    options = Tokenizing(model=models["tiny"])
    tokenize_corpus(manifest, tmp_path / "tokens", options, jobs=1)
    with pytest.raises(UserError, match="was begun with"):
        tokenize_corpus(manifest, tmp_path / "tokens", options.model_copy(update={"bitrate_bps": 5000.0}), jobs=1)
    manifest.write_text(manifest.read_text().replace('"s1"', '"s9"'))
    with pytest.raises(UserError, match="was begun with entries"):
        tokenize_corpus(manifest, tmp_path / "tokens", options, jobs=1)


def test_rows_of_another_model_or_of_another_length_are_not_decoded(
    tmp_path: Path, models: dict[str, str], manifest: Path
) -> None:
    from dataclasses import replace

    tokenize_corpus(manifest, tmp_path / "tokens", Tokenizing(model=models["tiny"]), jobs=1)
    store = read_tokens(tmp_path / "tokens")
    with pytest.raises(UserError, match="give that model"):
        decode_tokens(store, store.row(0), io.BytesIO(), models["spectral"])
    row = replace(store.row(0), num_samples=4000)
    with pytest.raises(UserError, match="125 frames; 4000 samples take 250"):
        decode_tokens(store, row, io.BytesIO(), models["tiny"])
    with pytest.raises(UserError, match="from 0 on"):
        store.row(99)
    with pytest.raises(UserError, match="no row of 'x'"):
        store.row("x")


def test_parquet_without_pyarrow_is_told_before_the_work(
    tmp_path: Path, models: dict[str, str], manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match="pip install pyarrow"):
        tokenize_corpus(manifest, tmp_path / "tokens", Tokenizing(model=models["tiny"], shard_format="parquet"))
    assert not (tmp_path / "tokens").exists()


def test_a_model_of_pictures_makes_no_tokens(tmp_path: Path, manifest: Path) -> None:
    save_model(tiny_model("image"), tmp_path / "pictures")
    with pytest.raises(UserError, match="codes pictures"):
        tokenize_corpus(manifest, tmp_path / "tokens", Tokenizing(model=str(tmp_path / "pictures")))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", None], "string"),
        ([1, 2], "int"),
        ([1, 0.5], "float"),
        ([True, None], "bool"),
        ([True, 1], "json"),
        ([[1], None], "json"),
        ([None, None], "json"),
    ],
)
def test_a_column_has_the_plainest_kind_that_holds_its_values(values: list, kind: str) -> None:
    assert column_kind(values) == kind
