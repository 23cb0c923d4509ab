"""What the screen says of names, not of contents."""

from __future__ import annotations

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
