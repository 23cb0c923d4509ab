"""Folders of files: each done once, whole, and the same whatever happened on the way."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from codec.checkpoint import save_model
from codec.core.errors import UserError
from codec.data.audio import write_audio
from codec.files import decode_file, encode_file, read_info
from codec.files.corpus import Decoding, Encoding, decode_folder, encode_folder
from codec.files.output_folder import clear_renamed, finish, open_folder, write_failures
from codec.files.tree import files_below, names_apart
from codec.models.tiny import tiny_model
from tests.files.media import scene, tone
from tests.files.trees import contents, interrupted, recordings


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_model(tiny_model("audio"), folder)
    return str(folder)


def test_every_recording_is_coded_as_it_would_be_alone(tmp_path: Path, tiny: str) -> None:
    source = recordings(tmp_path / "in", 5)
    report = encode_folder(source, tmp_path / "out", Encoding(model=tiny, num_active=1), jobs=2)
    assert (report.num_files, report.num_done, report.num_kept) == (6, 5, 0)
    for path in source.glob("*/**/*.wav"):
        encode_file(path, tmp_path / "alone.vqc", tiny, num_active=1)
        coded = tmp_path / "out" / path.relative_to(source).with_suffix(".vqc")
        assert coded.read_bytes() == (tmp_path / "alone.vqc").read_bytes()


def test_a_folder_comes_back_as_its_files_would_alone(tmp_path: Path, tiny: str) -> None:
    source = recordings(tmp_path / "in", 4)
    encode_folder(source, tmp_path / "coded", Encoding(model=tiny), jobs=1)
    (tmp_path / "coded" / "broken.vqc").write_bytes(b"not a file")
    report = decode_folder(tmp_path / "coded", tmp_path / "back", Decoding(model=tiny, suffix=".flac"), jobs=2)
    assert report.num_done == 4 and list(report.failures) == ["broken.vqc"]
    for path in (tmp_path / "coded").glob("*/**/*.vqc"):
        decode_file(path, tmp_path / "alone.flac", tiny)
        back = tmp_path / "back" / path.relative_to(tmp_path / "coded").with_suffix(".flac")
        assert back.read_bytes() == (tmp_path / "alone.flac").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tiny: str) -> tuple[Path, dict[str, bytes]]:
    """A folder of 40 recordings, and what becomes of it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    encode_folder(recordings(folder / "in", 40), folder / "out", Encoding(model=tiny), jobs=2)
    return folder / "in", contents(folder / "out")


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_was_ended_and_started_again_gives_what_an_undisturbed_one_gives(
    tmp_path: Path, tiny: str, undisturbed: tuple[Path, dict[str, bytes]], by: signal.Signals
) -> None:
    (source, wanted), out = undisturbed, tmp_path / "out"
    command = ("encode", str(source), str(out), "-m", tiny, "--jobs", "2")
    code = interrupted(*command, when=lambda: any(out.glob("[ab]/**/*.vqc")), by=by)
    time.sleep(0.2)  # workers that lost their parent are gone by then
    assert code == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[by]
    if by is signal.SIGKILL:
        (out / ".unfinished" / "0.vqc").write_bytes(b"half")
    else:
        assert not (out / ".unfinished").exists()
    left = {name: data for name, data in contents(out).items() if not name.startswith(".unfinished")}
    left.pop("failures.jsonl", None)
    assert left.items() <= wanted.items(), "a file has its name before it is whole"
    stamps = {name: (out / name).stat().st_mtime_ns for name in left if name.endswith(".vqc")}
    assert 0 < len(stamps) < 40, "it was not ended half-way"

    report = encode_folder(source, out, Encoding(model=tiny), jobs=1)
    assert contents(out) == wanted
    assert report.num_kept == len(stamps)
    assert all((out / name).stat().st_mtime_ns == stamp for name, stamp in stamps.items()), "done again"


def test_files_that_fail_are_listed_with_the_reason_and_forgotten_once_mended(tmp_path: Path, tiny: str) -> None:
    source = recordings(tmp_path / "in", 2)
    (source / "empty.flac").touch()
    report = encode_folder(source, tmp_path / "out", Encoding(model=tiny), jobs=1)
    lines = [json.loads(line) for line in Path(report.failures_path).read_text().splitlines()]
    assert [line["path"] for line in lines] == ["broken.wav", "empty.flac"]
    assert lines[1]["reason"].endswith("is empty (0 bytes): there is nothing to encode")
    for name in ("broken.wav", "empty.flac"):
        write_audio(source / name, tone(1000), 16000)
    report = encode_folder(source, tmp_path / "out", Encoding(model=tiny), jobs=1)
    assert (report.num_done, report.num_kept, report.failures) == (2, 2, {})
    assert not Path(report.failures_path).exists()


@pytest.mark.parametrize("spoil", ["cut", "older", "foreign", "gone"])
def test_what_is_not_whole_or_older_than_its_source_is_done_again(tmp_path: Path, tiny: str, spoil: str) -> None:
    source, options = recordings(tmp_path / "in", 2), Encoding(model=tiny)
    encode_folder(source, tmp_path / "out", options, jobs=1)
    wanted = contents(tmp_path / "out")
    coded = tmp_path / "out" / "a" / "001.vqc"
    if spoil == "cut":
        coded.write_bytes(coded.read_bytes()[:-3])
    elif spoil == "older":
        os.utime(coded, (1, 1))
    elif spoil == "foreign":
        encode_file(source / "a" / "001.wav", coded, tiny_model("audio", seed=7))
    else:
        coded.unlink()
    report = encode_folder(source, tmp_path / "out", options, jobs=1)
    assert (report.num_done, report.num_kept) == (1, 1)
    assert contents(tmp_path / "out") == wanted


@pytest.mark.parametrize("change", [{"num_active": 1}, {"mono": True}, {"bitrate_bps": 5000.0}])
def test_other_options_in_a_folder_that_was_begun_are_refused(tmp_path: Path, tiny: str, change: dict) -> None:
    source = recordings(tmp_path / "in", 1)
    encode_folder(source, tmp_path / "out", Encoding(model=tiny), jobs=1)
    before = contents(tmp_path / "out")
    with pytest.raises(UserError, match="was begun with"):
        encode_folder(source, tmp_path / "out", Encoding(model=tiny, **change), jobs=1)
    (tmp_path / "coded").mkdir()
    (tmp_path / "coded" / "x.vqc").write_bytes(b"any")
    with pytest.raises(UserError, match="was begun with made_by 'codec encode'"):
        decode_folder(tmp_path / "coded", tmp_path / "out", Decoding(model=tiny), jobs=1)
    assert contents(tmp_path / "out") == before


def test_a_file_that_no_run_made_is_not_overwritten(tmp_path: Path, tiny: str) -> None:
    source = recordings(tmp_path / "in", 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "broken.vqc").write_bytes(b"mine")
    with pytest.raises(UserError, match="choose another folder"):
        encode_folder(source, tmp_path / "out", Encoding(model=tiny), jobs=1)
    assert contents(tmp_path / "out") == {"broken.vqc": b"mine"}


def test_two_runs_at_once_do_not_share_a_folder(tmp_path: Path) -> None:
    with open_folder(tmp_path, "record.json", {"a": 1}, []):
        with pytest.raises(UserError, match="another run"), open_folder(tmp_path, "record.json", {"a": 1}, []):
            pass
        assert (tmp_path / ".unfinished").exists()


def test_recordings_of_one_name_are_kept_apart(tmp_path: Path, tiny: str) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for name, num_samples in (("x.wav", 900), ("x.flac", 901), ("y.wav", 902)):
        write_audio(source / name, tone(num_samples), 16000)
    encode_folder(source, tmp_path / "out", Encoding(model=tiny), jobs=1)
    lengths = {path.name: read_info(path).num_samples for path in (tmp_path / "out").glob("*.vqc")}
    assert lengths == {"x.wav.vqc": 900, "x.flac.vqc": 901, "y.vqc": 902}


def test_a_file_whose_source_has_another_name_for_it_now_is_removed(tmp_path: Path, tiny: str) -> None:
    source, coded, back = (tmp_path / name for name in ("in", "coded", "back"))
    source.mkdir()
    for name, num_samples in (("x.wav", 900), ("y.wav", 901)):
        write_audio(source / name, tone(num_samples), 16000)
    encode_folder(source, coded, Encoding(model=tiny), jobs=1)
    decode_folder(coded, back, Decoding(model=tiny), jobs=1)
    write_audio(source / "x.flac", tone(902), 16000)
    (source / "y.wav").unlink()
    report = encode_folder(source, coded, Encoding(model=tiny), jobs=1)
    assert (report.num_done, report.num_removed, report.orphans) == (2, 1, ("y.vqc",))
    assert {path.name for path in coded.glob("*.vqc")} == {"x.wav.vqc", "x.flac.vqc", "y.vqc"}
    report = decode_folder(coded, back, Decoding(model=tiny), jobs=1)
    assert (report.num_done, report.num_kept, report.num_removed, report.orphans) == (2, 1, 0, ("x.wav",))


_SOURCES = st.sets(
    st.builds("{}.{}".format, st.sampled_from(["a", "a.wav", "b"]), st.sampled_from(["wav", "ogg", "au"]))
)


@settings(max_examples=40)
@given(st.lists(_SOURCES, min_size=1, max_size=4))
def test_whatever_sources_come_and_go_a_file_is_of_the_source_it_is_named_by(changes: list[set[str]]) -> None:
    """Each file holds the name of what it was made of."""
    with tempfile.TemporaryDirectory() as folder:
        before: dict[str, str] = {}
        for sources in changes:
            chosen = names_apart(dict.fromkeys(map(Path, sources), ".vqc"))
            names = {source.name: made.name for source, made in chosen.items()}
            left = clear_renamed(Path(folder), names)
            there = {path.name: path.read_text() for path in Path(folder).glob("*.vqc")}
            for made, source in before.items():
                wrong = made != names[source] if source in names else made in names.values()
                assert (made not in there) == wrong
            orphans = {made for made, source in there.items() if source not in names}
            assert (left.num_removed, set(left.orphans)) == (len(before) - len(there), orphans)
            for source, made in names.items():
                Path(folder, made).write_text(source)
                there[made] = source
            before = there


@given(_SOURCES)
def test_no_two_files_get_one_name_and_a_lone_one_keeps_its_own(names: set[str]) -> None:
    chosen = names_apart(dict.fromkeys(map(Path, names), ".vqc"))
    assert len(set(chosen.values())) == len(names)
    for path, target in chosen.items():
        assert target.name in (f"{path.stem}.vqc", f"{path.name}.vqc")
    if len({Path(name).stem for name in names}) == len(names):
        assert all(target.name == f"{path.stem}.vqc" for path, target in chosen.items() if "." not in path.stem)


def test_a_model_of_pictures_takes_the_pictures_and_leaves_the_rest(tmp_path: Path) -> None:
    save_model(tiny_model("image"), tmp_path / "model")
    source = recordings(tmp_path / "in", 1)
    Image.fromarray(scene(9, 14)).save(source / "p.png")
    (source / ".hidden").mkdir()
    Image.fromarray(scene(5, 5)).save(source / ".hidden" / "q.png")
    report = encode_folder(source, source / "out", Encoding(model=str(tmp_path / "model")), jobs=1)
    assert (report.num_files, report.num_done) == (1, 1)
    decode_folder(source / "out", tmp_path / "back", Decoding(model=str(tmp_path / "model")), jobs=1)
    assert Image.open(tmp_path / "back" / "p.png").size == (14, 9)


def test_damage_that_is_skipped_is_told(tmp_path: Path, tiny: str) -> None:
    source = recordings(tmp_path / "in", 1)
    encode_folder(source, tmp_path / "coded", Encoding(model=tiny), jobs=1)
    coded = next((tmp_path / "coded").rglob("*.vqc"))
    damaged = bytearray(coded.read_bytes())
    damaged[-9] ^= 255
    coded.write_bytes(damaged)
    report = decode_folder(tmp_path / "coded", tmp_path / "back", Decoding(model=tiny, skip_damaged=True), jobs=1)
    assert len(report.damage) == 1 and "chunk" in report.damage[0]


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are UTF-8")
def test_a_name_that_is_not_utf_8_is_a_name_like_any_other(tmp_path: Path, tiny: str) -> None:
    source, name = tmp_path / "in", os.fsdecode(b"\xff.wav")
    source.mkdir()
    write_audio(source / f"good{name}", tone(900), 16000)
    (source / f"bad{name}").write_bytes(b"no sound")
    report = encode_folder(source, tmp_path / "out", Encoding(model=tiny), jobs=1)
    assert report.num_done == 1 and list(report.failures) == [f"bad{name}"]
    lines = Path(report.failures_path).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["path"] for line in lines] == [f"bad{name}"]


def test_a_list_of_failures_stays_until_the_next_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_failures(tmp_path, {"a": "why"})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("codec.files.output_folder.atomic_write_text", full)
    with pytest.raises(OSError, match="No space"):
        write_failures(tmp_path, {"b": "why"})
    assert (tmp_path / "failures.jsonl").read_text() == '{"path": "a", "reason": "why"}\n'


def test_pipes_are_passed_over_and_links_that_lead_nowhere_are_failures(tmp_path: Path, tiny: str) -> None:
    source = tmp_path / "in"
    source.mkdir()
    os.mkfifo(source / "pipe.wav")
    write_audio(source / "lost.wav", tone(900), 16000)
    assert files_below(source, lambda _: True, outside=tmp_path / "out") == [Path("lost.wav")]
    assert encode_folder(source, tmp_path / "out", Encoding(model=tiny), jobs=1).num_done == 1
    (source / "lost.wav").unlink()
    (source / "lost.wav").symlink_to("nowhere")
    report = encode_folder(source, tmp_path / "out", Encoding(model=tiny), jobs=1)
    assert list(report.failures) == ["lost.wav"] and (tmp_path / "out" / "lost.vqc").exists()


@pytest.mark.parametrize("suffix", [".xyz", ".a/b", ".png"])
def test_a_suffix_that_nothing_can_be_written_in_is_refused_before_the_folder_is_begun(
    tmp_path: Path, tiny: str, suffix: str
) -> None:
    (tmp_path / "coded").mkdir()
    write_audio(tmp_path / "x.wav", tone(900), 16000)
    encode_file(tmp_path / "x.wav", tmp_path / "coded" / "x.vqc", tiny)
    with pytest.raises(UserError, match="cannot write audio with the suffix"):
        decode_folder(tmp_path / "coded", tmp_path / "back", Decoding(model=tiny, suffix=suffix), jobs=1)
    assert not (tmp_path / "back").exists()


def test_a_failure_to_give_a_file_its_name_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "a.vqc").mkdir()
    (tmp_path / "0.vqc").touch()
    with pytest.raises(UserError, match=f"^cannot write {tmp_path / 'a.vqc'}: Is a directory$"):
        finish(tmp_path / "0.vqc", tmp_path / "a.vqc")


def test_a_folder_that_is_its_own_output_is_refused(tmp_path: Path, tiny: str) -> None:
    with pytest.raises(UserError, match="input and output at once"):
        encode_folder(recordings(tmp_path, 1), tmp_path, Encoding(model=tiny), jobs=1)
