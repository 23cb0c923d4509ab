"""Programs of other people: nothing in the file is run while it is loaded, and what is no program is told in a line."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from codec.core.errors import UserError
from codec.core.program import load_program

MODEL = "models/model.json"
NEWER = {"schema_version": {"major": 99, "minor": 0}}


class Frames(nn.Module):
    def forward(self, signal):
        return signal.unfold(-1, 160, 160)


@pytest.fixture(scope="module")
def content():
    """The file of a network that takes any length."""
    lengths = ({1: 160 * torch.export.Dim("n", min=2)},)
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(Frames(), (torch.zeros(1, 1600),), dynamic_shapes=lengths), buffer)
    return buffer.getvalue()


def _changed(content: bytes, record: str, change) -> bytes:
    """The same archive with one record changed by `change`, from tree to tree."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            found = old.read(name)
            new.writestr(name, json.dumps(change(json.loads(found))) if name.endswith(record) else found)
    return made.getvalue()


def _with_lengths(content: bytes, text: str) -> bytes:
    def spoil(tree):
        if isinstance(tree, dict):
            return {key: text if key == "expr_str" else spoil(part) for key, part in tree.items()}
        return [spoil(part) for part in tree] if isinstance(tree, list) else tree

    return _changed(content, MODEL, spoil)


def _file(folder: Path, content: bytes) -> Path:
    path = folder / "network.pt2"
    path.write_bytes(content)
    return path


def test_a_program_gives_what_its_network_gives(content, tmp_path):
    signal = torch.arange(800.0)[None]
    path = _file(tmp_path, content)
    for pinned in (None, hashlib.sha256(content).hexdigest()):
        assert torch.equal(load_program(path, sha256=pinned)(signal), Frames()(signal))


@pytest.mark.parametrize(
    "text",
    [
        "__import__('pathlib').Path('{trace}').touch() or 1",
        "open('{trace}', 'w')",
        "exec(chr(112) + chr(97) + chr(115) + chr(115))",  # of plain characters only
        "S('open(1)')",
        "Symbol('n').name",
        "[1]",
        "Integer(1) #",
        "Integer(",
        7,
    ],
)
def test_lengths_are_not_run(content, tmp_path, text):
    trace = tmp_path / "trace"
    text = text.replace("{trace}", str(trace)) if isinstance(text, str) else text
    with pytest.raises(UserError, match="may run anything"):
        load_program(_file(tmp_path, _with_lengths(content, text)))
    assert not trace.exists()


def test_guards_are_not_run(content, tmp_path):
    trace = tmp_path / "trace"
    guard = f"open({str(trace)!r}, 'w')"
    spoilt = _changed(content, MODEL, lambda tree: tree | {"guards_code": [guard]})
    load_program(_file(tmp_path, spoilt))(torch.zeros(1, 800))
    assert not trace.exists()


def test_another_file_is_refused_before_torch_sees_it(content, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.export, "load", lambda file: pytest.fail("it was loaded"))
    with pytest.raises(UserError, match="another program"):
        load_program(_file(tmp_path, content), sha256="0" * 64)


def _empty() -> bytes:
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: b"nothing", "write it with torch.export.save"),
        (lambda content: _empty(), "write it with torch.export.save"),
        (lambda content: _changed(content, "model_weights_config.json", lambda tree: []), "is no program"),
        (lambda content: _changed(content, MODEL, lambda tree: {}), "cannot load"),
        (lambda content: _changed(content, MODEL, lambda tree: tree | NEWER), "cannot load"),
    ],
)
def test_what_is_no_program_is_one_line(content, tmp_path, capfd, spoil, message):
    with pytest.raises(UserError, match=message) as caught:
        load_program(_file(tmp_path, spoil(content)))
    assert "\n" not in str(caught.value) and not capfd.readouterr().err
