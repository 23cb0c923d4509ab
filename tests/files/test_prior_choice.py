"""Which prior a file is written and read with, and what is said where it is the wrong one or none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codec.checkpoint import save_model
from codec.checkpoint.prior import save_prior
from codec.cli import main
from codec.core.grid import Grid
from codec.models.vqvae import VQVAE
from codec.priors.base import Geometry
from codec.priors.context import ContextConfig, ContextPrior
from tests.files.coding import fitted_prior
from tests.files.test_prior import PIXELS, signal_of


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image_model: VQVAE) -> str:
    """The fingerprint of a model in a run folder, `run`, with a prior to sample from; beside it, two pictures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("codec.checkpoint.prior.PRETRAINED", tmp_path / "pretrained")
    Image.fromarray(PIXELS).save("photo.png")
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save("other.png")
    fingerprint = save_model(image_model, "run/checkpoints/best")
    config = ContextConfig.model_validate({"groups": ({"codebooks": 2},)})
    prior = ContextPrior(config, Geometry(ndim=2, level=Grid.of(image_model.levels[0])))
    save_prior(prior, "run/priors/top", model_fingerprint=fingerprint)
    return fingerprint


def save_coding(folder: str, model: VQVAE, fingerprint: str) -> None:
    prior = fitted_prior(model.encode(signal_of(PIXELS)), model, heads=("categorical",))
    save_prior(prior, folder, model_fingerprint=fingerprint)


@pytest.mark.parametrize("given", ["run", "run/priors/top", "run/priors/top/prior.safetensors"])
@pytest.mark.parametrize("verb", ["encode", "decode"])
def test_another_prior_of_the_run_points_to_the_one_for_files(
    run: str, image_model: VQVAE, capsys: pytest.CaptureFixture[str], verb: str, given: str
) -> None:
    save_coding("run/coding", image_model, run)
    main(["encode", "photo.png", "a.vqc", "-m", "run", "--prior", "run/coding"])
    capsys.readouterr()
    source, target = ("photo.png", "b.vqc") if verb == "encode" else ("a.vqc", "b.png")
    assert main([verb, source, target, "-m", "run", "--prior", given]) == 2
    said = capsys.readouterr().err
    assert "give --prior run/coding" in said and "--stage prior" in said and said.count("\n") == 1


@pytest.mark.parametrize("given", ["run", "run/priors/top", "nowhere"])
def test_nothing_is_pointed_to_that_is_not_there(run: str, capsys: pytest.CaptureFixture[str], given: str) -> None:
    assert main(["encode", "photo.png", "a.vqc", "-m", "run", "--prior", given]) == 2
    assert "coding," not in capsys.readouterr().err


@pytest.mark.parametrize("given", ["run/coding", "run/coding/prior.safetensors"])
def test_a_damaged_prior_is_told_as_that(
    run: str, image_model: VQVAE, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    save_coding("run/coding", image_model, run)
    with open("run/coding/prior.safetensors", "r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    assert main(["encode", "photo.png", "a.vqc", "-m", "run", "--prior", given]) == 2
    assert "the file is damaged" in capsys.readouterr().err


def test_a_given_prior_that_does_not_help_is_told(
    run: str, image_model: VQVAE, capsys: pytest.CaptureFixture[str]
) -> None:
    save_coding("run/coding", image_model, run)
    told = "prior 'coding' made no chunk smaller: the file was coded without it"
    for source, expected in (("other.png", True), ("photo.png", False)):
        assert main(["encode", source, "a.vqc", "-m", "run", "--prior", "run/coding"]) == 0
        assert (told in capsys.readouterr().err.splitlines()) == expected
    assert main(["encode", "other.png", "b.vqc", "-m", "run", "--prior", "none"]) == 0
    assert main(["encode", "other.png", "a.vqc", "-m", "run", "--prior", "run/coding"]) == 0
    assert Path("a.vqc").read_bytes() == Path("b.vqc").read_bytes()


@pytest.mark.parametrize(("bundled", "way_out"), [(True, "leave --prior out"), (False, "give its folder with --prior")])
def test_a_file_with_a_prior_is_not_decoded_with_none(
    run: str, image_model: VQVAE, capsys: pytest.CaptureFixture[str], bundled: bool, way_out: str
) -> None:
    folder = "pretrained/mine" if bundled else "run/mine"
    save_coding(folder, image_model, run)
    main(["encode", "photo.png", "a.vqc", "-m", "run", "--prior", folder])
    capsys.readouterr()
    assert main(["decode", "a.vqc", "a.png", "-m", "run", "--prior", "none"]) == 2
    said = capsys.readouterr().err
    assert said.strip().endswith(f"and cannot be decoded without it: {way_out}") and "not bundled" not in said
    assert main(["decode", "a.vqc", "a.png", "-m", "run"]) == (0 if bundled else 2)
    assert np.array(Image.open("a.png")).shape == PIXELS.shape if bundled else not Path("a.png").exists()
