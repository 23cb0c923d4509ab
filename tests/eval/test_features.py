import pytest
import torch
from torch import nn

from codec.core.errors import UserError
from codec.eval import code_item, evaluate, load_network
from codec.metrics import FeatureGaussian, frechet_distance
from codec.models.tiny import tiny_model
from tests.eval.corpus import write_pictures, write_recordings


class Averages(nn.Module):
    """A signal's mean per channel, and its deviation; noise while training."""

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        flat = signal.flatten(2)
        noise = torch.randn(()) if self.training else 0.0
        return torch.cat((flat.mean(2), flat.std(2)), dim=1) + noise


def test_the_distance_is_that_of_the_features_of_originals_and_reconstructions(tmp_path):
    model, manifest = tiny_model("image"), write_pictures(tmp_path, 4)
    report = evaluate(model, manifest, network=Averages())
    ours, theirs = FeatureGaussian(), FeatureGaussian()
    for index in range(4):
        item = code_item(tmp_path / f"picture-{index}.png", model, tmp_path / "coded")
        ours.add(Averages().eval()(item.reference[None]))
        theirs.add(Averages().eval()(item.estimate[None]))
    assert report["frechet_distance"] == pytest.approx(frechet_distance(ours, theirs), rel=1e-9)


class Maps(nn.Module):
    """Maps of features instead of a row."""

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        return signal[:, :, :1, :1]


def test_a_network_that_gives_no_row_of_features_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match=r"picture-0.png: features have shape \(1, 3, 1, 1\)"):
        evaluate(tiny_model("image"), write_pictures(tmp_path, 1), network=Maps())


def test_one_item_has_no_spread_and_no_distance(tmp_path):
    assert evaluate(tiny_model("image"), write_pictures(tmp_path, 1), network=Averages())["frechet_distance"] is None


def test_sound_has_features_too(tmp_path):
    report = evaluate(tiny_model("audio"), write_recordings(tmp_path, (0.1, 0.1)), network=Averages())
    assert report["frechet_distance"] > 0


def test_a_network_comes_from_a_module_in_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "my_features.py").write_text(
        "from torch import nn\ndef network():\n    return nn.Flatten()\ndef other():\n    return 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["elsewhere"])
    assert isinstance(load_network("my_features:network"), nn.Flatten)
    for place, complaint in {
        "my_features:other": "no torch.nn.Module",
        "my_features:absent": "no torch.nn.Module",
        "no_such_module:network": "cannot import 'no_such_module'",
        "my_features": "wanted module:function",
    }.items():
        with pytest.raises(UserError, match=complaint):
            load_network(place)
