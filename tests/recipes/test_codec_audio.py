"""The recipe for sound from recordings to files coded with its own prior, and the mistakes between stages."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from codec.checkpoint import load_model, save_model
from codec.checkpoint.prior import PRIOR_FILE, load_coding_prior
from codec.cli import main
from codec.cli.scripts import load_stage
from codec.core.bundled import recipes_folder
from codec.core.config import load_config
from codec.core.errors import UserError
from codec.data.code_store import open_codes
from codec.models import build_model
from codec.models.audio_codec import AudioCodec
from codec.priors.base import Geometry
from codec.priors.build import build_neural_prior
from codec.priors.frame_export import frames_to_integers
from codec.priors.frames import FramePrior
from codec.train.decoder_task import DecoderTask
from codec.train.task import ReconstructionTask

RECIPE = recipes_folder() / "codec_audio"
PRESETS = sorted(RECIPE.glob("*.yaml"))
LENGTHS = (1600, 1111, 40, 12000, 900, 1500)  # samples; 8 make a frame


def _config(manifest: Path) -> dict:
    loop = {"validate_every": 20, "save_every": 20, "device": "cpu", "threads": 1, "average_decay": 0.5}
    backend = {"hop_length": 8, "window": 16, "width": 8, "encoder": [1], "decoder": [1], "kernel": 3}
    return {
        "data": {"train": str(manifest), "batch_size": 2, "crop": 64, "workers": 0, "mix_probability": 0.5},
        "model": {
            "kind": "audio",
            "media": {"kind": "audio", "sample_rate": 8000},
            "backend": {"kind": "spectral", **backend},
            "latent_dim": 4,
            "quantizer": {
                "kind": "residual",
                "num_codebooks": 3,
                "paths": 2,
                "rate_weight": 1.0,
                "codebook": {"kind": "ema", "codebook_size": 8},
            },
            "chunk": 50,
        },
        "losses": {"mse": 1.0, "commitment": 0.25},
        "loop": {"steps": 2, **loop},
        "decoder": {"loop": {"steps": 3, **loop}},
        "codes": {"frames": 30},
        "prior": {
            "prior": {"kind": "frames", "embedding_dim": 8, "hidden": 8, "features": 8},
            "batch_size": 4,
            "loop": {"steps": 40, **loop, "optimizer": {"learning_rate": 0.01, "warmup_steps": 1}},
        },
    }


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config of a tiny model, and the recordings that it names."""
    folder = tmp_path_factory.mktemp("corpus")
    lines = []
    for number, length in enumerate(LENGTHS):
        hum = 0.5 * np.sin(np.arange(length) * (0.1 + 0.02 * number))
        soundfile.write(folder / f"{number}.wav", hum, 8000)
        lines.append({"path": f"{number}.wav", "split": "validation" if number >= 4 else "train"})
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    preset = folder / "tiny.yaml"
    preset.write_text(yaml.safe_dump(_config(manifest), sort_keys=False))
    return preset


@pytest.fixture(scope="module")
def finished(preset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all stages, through the command."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    assert main(["train", "codec_audio", "--config", str(preset), "--run", str(run)]) == 0
    for stage in ("count", "decoder", "extract", "prior"):
        assert main(["train", "codec_audio", "--stage", stage, "--run", str(run)]) == 0
    return run


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_preset_has_a_prior_for_its_codes_of_some_200_kilobytes_a_codebook(path: Path, tmp_path: Path) -> None:
    recipe = load_config(load_stage(RECIPE, "train").Recipe, path)
    with torch.device("meta"):
        levels = build_model(recipe.model).levels
    prior = build_neural_prior(recipe.prior.prior, Geometry.of(levels, 0, ndim=1))
    assert isinstance(prior, FramePrior)
    integers = frames_to_integers(prior)
    num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in integers.state_dict().values())
    assert num_bytes < 2.1e5 * levels[0].num_codebooks


def test_the_stored_codes_are_those_of_the_model_at_some_rate_one_recording_after_another(
    finished: Path, preset: Path
) -> None:
    model, store = load_model(finished, device="cpu"), open_codes(finished / "codes")
    seen = set()
    for split, numbers in (("train", range(4)), ("validation", range(4, 6))):
        signals = [soundfile.read(preset.parent / f"{number}.wav", dtype="float32")[0] for number in numbers]
        items = store.read(0, store.items_of(split))
        for active in model.rates:
            rows = [item[:active] for item in items if int((item[:, 0] >= 0).sum()) == active]
            assert all((item[active:] < 0).all() for item in items if int((item[:, 0] >= 0).sum()) == active)
            coded = [model.encode(torch.from_numpy(x)[None, None], num_active=active)[0][0].numpy() for x in signals]
            for row in rows:
                seen.add(active)
                assert any(_holds(np.concatenate(run, axis=1), row) for run in _runs(coded))
    assert len(seen) > 1


def _runs(parts: list) -> list[list]:
    """Every choice of some of them, in order."""
    return [list(some) for count in range(1, len(parts) + 1) for some in combinations(parts, count)]


def _holds(codes: np.ndarray, row: np.ndarray) -> bool:
    width = row.shape[1]
    return any(np.array_equal(codes[:, place : place + width], row) for place in range(codes.shape[1] - width + 1))


def test_counted_codes_are_the_models_and_are_counted_once(finished: Path, capsys) -> None:
    model = load_model(finished, device="cpu")
    assert isinstance(model, AudioCodec)
    counts = model.quantizer.encoded_counts(2)
    assert counts is not None and torch.equal(model.code_histograms(2)[0], counts)
    count = load_stage(RECIPE, "count")
    with pytest.raises(UserError, match="are counted: pass --resume"):
        count.main(None, [], str(finished), False)
    count.main(None, [], str(finished), True)
    assert load_model(finished, device="cpu").fingerprint == model.fingerprint


def test_the_decoder_learns_on_and_nothing_else_does(finished: Path, preset: Path, tmp_path: Path) -> None:
    decoder = load_stage(RECIPE, "decoder")
    assert main(["train", "codec_audio", "--config", str(preset), "--run", str(tmp_path)]) == 0
    with pytest.raises(UserError, match="--stage count comes first"):
        decoder.main(None, [], str(tmp_path), False)
    load_stage(RECIPE, "count").main(None, [], str(tmp_path), False)
    before = load_model(tmp_path, device="cpu").state_dict()
    with pytest.raises(UserError, match="no decoder"):
        decoder.main(None, ["decoder=null"], str(tmp_path), False)
    decoder.main(None, [], str(tmp_path), False)
    after = load_model(tmp_path, device="cpu")
    changed = {name for name, value in after.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if name.startswith("decoder.")}
    assert after.name == tmp_path.name
    decoder.main(None, [], str(tmp_path), True)
    assert load_model(tmp_path, device="cpu").fingerprint == after.fingerprint, "what is done is let be"
    decoder.main(None, ["decoder.loop.steps=5"], str(tmp_path), True)
    logged = (tmp_path / "decoder" / "logs" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(logged[-1])["step"] == 5, "unless there is more to do"
    save_model(load_model(finished, device="cpu"), tmp_path / "checkpoints" / "best")
    with pytest.raises(UserError, match="began with model"):
        decoder.main(None, [], str(tmp_path), True)


@pytest.mark.parametrize("saved", ["before validation", "after validation"])
def test_a_decoder_killed_at_any_time_goes_on(preset: Path, tmp_path: Path, saved: str, monkeypatch) -> None:
    decoder = load_stage(RECIPE, "decoder")
    assert main(["train", "codec_audio", "--config", str(preset), "--run", str(tmp_path)]) == 0
    load_stage(RECIPE, "count").main(None, [], str(tmp_path), False)
    every = {"before validation": (1, 9), "after validation": (9, 1)}[saved]
    often = [f"decoder.loop.save_every={every[0]}", f"decoder.loop.validate_every={every[1]}"]
    steps = []

    def die(task, *args):
        steps.append(None)
        if len(steps) == 4:
            raise KeyboardInterrupt
        return ReconstructionTask.total(task, *args)

    monkeypatch.setattr(DecoderTask, "total", die)
    with pytest.raises(KeyboardInterrupt):
        decoder.main(None, ["decoder.loop.steps=6", *often], str(tmp_path), False)
    began = load_model(tmp_path, device="cpu").fingerprint
    decoder.main(None, ["decoder.loop.steps=6", *often], str(tmp_path), True)
    assert load_model(tmp_path, device="cpu").fingerprint != began


def test_a_model_that_weighs_no_rates_has_nothing_to_count(preset: Path, tmp_path: Path) -> None:
    plain = ["model.quantizer.rate_weight=0", "model.quantizer.paths=1"]
    assert main(["train", "codec_audio", "--config", str(preset), "--run", str(tmp_path), *plain]) == 0
    with pytest.raises(UserError, match="rate_weight, which this run's model does not have"):
        load_stage(RECIPE, "count").main(None, [], str(tmp_path), False)


@pytest.mark.parametrize("active", ["1", "3"])
def test_files_are_coded_with_the_prior_and_come_back(
    finished: Path, preset: Path, tmp_path: Path, active: str
) -> None:
    source, prior = str(preset.parent / "3.wav"), str(finished / "coding")
    model = ["--model", str(finished / "checkpoints" / "best")]
    smaller, plain = tmp_path / "prior.vqc", tmp_path / "plain.vqc"
    rate = ["--num-active", active]
    assert main(["encode", source, str(smaller), *model, *rate, "--prior", prior]) == 0
    assert main(["encode", source, str(plain), *model, *rate, "--prior", "none"]) == 0
    assert smaller.stat().st_size < plain.stat().st_size
    assert main(["decode", str(smaller), str(tmp_path / "a.wav"), *model, "--prior", prior]) == 0
    assert main(["decode", str(plain), str(tmp_path / "b.wav"), *model]) == 0
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_the_prior_is_the_models_and_tells_what_it_saves(finished: Path, capsys) -> None:
    prior, model = load_coding_prior(finished / "coding"), load_model(finished, device="cpu")
    assert (prior.name, prior.model_fingerprint) == (model.name, model.fingerprint)
    assert set(prior.shares) == set(model.rates) and 0 < max(prior.shares.values()) <= 1
    before = (finished / "coding" / PRIOR_FILE).read_bytes()
    load_stage(RECIPE, "prior").main(None, [], str(finished), True)
    assert (finished / "coding" / PRIOR_FILE).read_bytes() == before
    told = capsys.readouterr().out
    assert " counted, " in told and " predicted, bits a code" in told and "validation bits_per_code" in told


def test_codes_that_are_there_are_kept_only_if_that_is_asked_for(finished: Path) -> None:
    extract = load_stage(RECIPE, "extract")
    with pytest.raises(UserError, match="already holds codes"):
        extract.main(None, [], str(finished), False)
    extract.main(None, [], str(finished), True)


def test_a_config_without_a_prior_is_told(finished: Path) -> None:
    with pytest.raises(UserError, match="no prior"):
        load_stage(RECIPE, "prior").main(None, ["prior=null"], str(finished), True)
