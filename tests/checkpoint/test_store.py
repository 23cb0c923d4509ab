"""What can go wrong with a file of tensors is one line for the person who has it."""

import errno
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from codec.checkpoint import store
from codec.checkpoint.store import read_header, read_tensors, write_tensors
from codec.core.errors import UserError


@pytest.mark.parametrize(
    "full",
    [
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_a_full_disk_is_one_line_and_the_old_file_stays(full: Exception, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"a": torch.ones(2)}, header={"key": 1})

    def fail(tensors: object, place: Path, metadata: object) -> None:
        place.write_bytes(b"half")
        raise full

    monkeypatch.setattr(store, "save_file", fail)
    with pytest.raises(UserError, match=r"cannot write .*a\.safetensors: .*No space left") as caught:
        write_tensors(path, {"a": torch.zeros(2)}, header={})
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]
    tensors, header = read_tensors(path)
    assert header == {"key": 1} and torch.equal(tensors["a"], torch.ones(2))


@pytest.mark.parametrize("read", [read_tensors, read_header])
def test_a_missing_and_a_damaged_file_are_told_apart(read, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read(tmp_path / "a.safetensors")
    write_tensors(tmp_path / "a.safetensors", {"a": torch.ones(2)}, header={"key": 1})
    whole = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(whole.replace(b'"key":"1"', b'"key":"{"'))
    with pytest.raises(UserError, match="damaged or something else"):
        read(tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").write_bytes(whole[:20])
    with pytest.raises(UserError, match="damaged or something else"):
        read(tmp_path / "a.safetensors")
