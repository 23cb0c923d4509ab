"""A file is whole or absent, whatever happens while it is written."""

import pytest

from codec.core.atomic import atomic_path, atomic_write_bytes
from codec.core.errors import UserError


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "a.bin"
    atomic_write_bytes(target, b"old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_missing_folders_are_made_and_the_suffix_is_kept(tmp_path):
    with atomic_path(tmp_path / "x" / "y.wav") as temporary:
        assert temporary.suffix == ".wav" and temporary.parent == tmp_path / "x"
        temporary.write_bytes(b"new")
    assert (tmp_path / "x" / "y.wav").read_bytes() == b"new"


def test_a_failed_write_takes_away_the_folders_it_made_and_no_others(tmp_path):
    (tmp_path / "old").mkdir()
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "old" / "new" / "newer" / "a.bin"):
        raise RuntimeError
    assert list(tmp_path.rglob("*")) == [tmp_path / "old"]
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "new" / "newer" / "a.bin"):
        (tmp_path / "new" / "b.bin").write_bytes(b"somebody else's")
        raise RuntimeError
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "new", tmp_path / "new" / "b.bin", tmp_path / "old"]


def test_a_target_that_cannot_be_written_is_a_user_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot write"):
        atomic_write_bytes(tmp_path / "file" / "below", b"x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="cannot write"):
        atomic_write_bytes(tmp_path / "folder", b"x")
