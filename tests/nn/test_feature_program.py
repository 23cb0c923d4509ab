"""Features of an exported network: its frames, whatever the length, and one line for what does not fit."""

import hashlib
import io
import zipfile

import pytest
import torch
from torch import nn

from codec.checkpoint.units import load_units, save_units
from codec.core.errors import UserError
from codec.models.build_units import build_units, parse_units
from codec.nn.feature_program import ProgramConfig, ProgramFeatures

HOP, WINDOW = 320, 400


class Network(nn.Module):
    """What self-supervised encoders do to lengths: no padding, so the last frames are missing."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv1d(1, 5, WINDOW, stride=HOP)

    def forward(self, signal):
        return self.layer(signal[:, None]).transpose(1, 2)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "network.pt2"
    samples = torch.export.Dim("samples", min=2 * HOP + WINDOW)
    exported = torch.export.export(Network().eval(), (torch.zeros(1, 16000),), dynamic_shapes={"signal": {1: samples}})
    torch.export.save(exported, path)
    return path


def _speech(samples=8000, rows=1):
    return 0.1 * torch.randn(rows, samples, generator=torch.Generator().manual_seed(samples))


@pytest.mark.parametrize("samples", [1280, 8000, 8100])
def test_frames_are_the_networks_and_the_last_is_repeated(program, samples):
    features = ProgramFeatures(ProgramConfig(program=program, hop_length=HOP, num_features=5))
    speech = _speech(samples, rows=2)
    found = features(speech)
    expected = Network()(speech).transpose(1, 2)
    assert found.shape == (2, 5, samples // HOP)
    torch.testing.assert_close(found[..., : expected.shape[2]], expected)
    assert torch.equal(found[..., -1], found[..., expected.shape[2] - 1])


def test_units_of_such_features_are_saved_and_loaded(program, tmp_path):
    features = {"kind": "program", "program": str(program), "hop_length": HOP, "num_features": 5, "normalise": True}
    tree = {"kind": "features", "features": features, "quantizer": {"kind": "ema", "codebook_size": 4}}
    model = build_units(parse_units(tree)).eval()
    model.quantizer.train()(model.latents(_speech()[:, None]))
    model.eval()
    save_units(model, tmp_path / "mine")
    again = load_units(tmp_path / "mine", device="cpu")
    assert torch.equal(again.units(_speech()[:, None]), model.units(_speech()[:, None]))
    assert again.frame_rate == 50 and not any("program" in name for name in again.state_dict())


def test_the_file_must_be_the_one_that_was_named(program):
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    ProgramFeatures(ProgramConfig(program=program, hop_length=HOP, num_features=5, sha256=digest))
    with pytest.raises(UserError, match="another program"):
        ProgramFeatures(ProgramConfig(program=program, hop_length=HOP, num_features=5, sha256="0" * 64))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_features": 6}, r"ask for \[1, 25, 6\]"),
        ({"hop_length": 160}, "gives"),
        ({"program": "no.pt2"}, "cannot read"),
        ({"program": "no.pt2", "sha256": "0" * 64}, "cannot read"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(program, change, message):
    config = ProgramConfig.model_validate({"program": program, "hop_length": HOP, "num_features": 5} | change)
    with pytest.raises(UserError, match=message):
        ProgramFeatures(config)(_speech())


@pytest.mark.parametrize(
    ("outputs", "found"),
    [
        (lambda frames: (frames, frames), "gives tuple"),
        (lambda frames: {"last": frames}, "gives dict"),
        (lambda frames: frames.sum((1, 2)), r"gives \[1\]"),
        (lambda frames: frames.repeat(2, 1, 1), r"gives \[2, 25, 5\]"),
        (lambda frames: frames[..., :0], r"gives \[1, 25, 0\]"),
    ],
)
def test_outputs_that_are_no_features_are_named(program, monkeypatch, outputs, found):
    features = ProgramFeatures(ProgramConfig(program=program, hop_length=HOP, num_features=5))

    class Other(nn.Module):
        def forward(self, signal):
            return outputs(signal.unfold(1, HOP, HOP)[..., :5])

    monkeypatch.setattr(features, "_program", (Other(),))
    with pytest.raises(UserError, match=rf"{found}.*\[1, 25, 5\]"):
        features(_speech())


def test_another_program_makes_another_model(program, tmp_path, monkeypatch):
    def fingerprint(content):
        (tmp_path / "network.pt2").write_bytes(content)
        features = {"kind": "program", "program": "network.pt2", "hop_length": HOP, "num_features": 5}
        tree = {"kind": "features", "features": features, "quantizer": {"kind": "ema", "codebook_size": 4}}
        torch.manual_seed(0)
        return save_units(build_units(parse_units(tree)), tmp_path / "mine")

    monkeypatch.chdir(tmp_path)
    content = program.read_bytes()
    first = fingerprint(content)
    monkeypatch.chdir("/")  # the path in the model is whole
    load_units(tmp_path / "mine", device="cpu")
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile("other.zip", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))  # the same network, in other bytes
    assert fingerprint(content) == first != fingerprint((tmp_path / "other.zip").read_bytes())
    (tmp_path / "network.pt2").write_bytes(content)
    with pytest.raises(UserError, match="another program"):
        load_units(tmp_path / "mine", device="cpu")


def test_a_program_is_not_warped(program):
    features = {"kind": "program", "program": str(program), "hop_length": HOP, "num_features": 5}
    model = build_units(
        parse_units({"kind": "features", "features": features, "quantizer": {"kind": "ema", "codebook_size": 4}})
    )
    with pytest.raises(UserError, match=r"warp=0"):
        model.features(_speech()[:, None], warp=torch.ones(1))
