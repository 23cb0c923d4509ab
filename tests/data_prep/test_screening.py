"""What the screen says of names, not of contents."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

import pytest

from codec.data.manifest import read_manifest
from data_prep.registry import prepare
from tests.data.makers import write_noise


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are Unicode")
def test_a_name_that_is_not_utf8_is_listed_and_left_out(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_noise(source / "good.wav", 4000)
    odd = source / os.fsdecode(b"caf\xe9.wav")
    write_noise(source / "plain.wav", 4000)
    (source / "plain.wav").rename(odd)
    report = prepare("folder", source, tmp_path / "out")
    assert [entry.path.name for entry in read_manifest(report.manifest)] == ["good.wav"]
    (line,) = report.skipped_list.read_text(encoding="utf-8").splitlines()
    skipped = json.loads(line)
    assert skipped["path"] == str(odd) and "not UTF-8" in skipped["reason"]


def test_a_folder_that_cannot_be_read_is_listed_and_the_others_are_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    write_noise(source / "open" / "good.wav", 4000)
    write_noise(source / "locked" / "hidden.wav", 4000)
    scandir = os.scandir

    def guarded(path: str) -> object:
        if Path(path).name == "locked":  # permissions do not stop root, who may run this test
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    report = prepare("folder", source, tmp_path / "out")
    assert report.written == 1
    assert report.skipped == [(source / "locked", "the folder cannot be read: Permission denied")]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_by_the_name_of_a_recording_is_skipped_and_not_opened(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_noise(source / "good.wav", 4000)
    os.mkfifo(source / "pipe.wav")
    os.mkfifo(source / "pipe.png")
    report = prepare("folder", source, tmp_path / "out")
    assert report.written == 1
    assert [(path.name, "pipe" in reason) for path, reason in report.skipped] == [
        ("pipe.png", True),
        ("pipe.wav", True),
    ]
