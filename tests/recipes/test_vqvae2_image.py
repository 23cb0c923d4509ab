"""The pyramid recipe from pictures to samples: every stage, killed and resumed, and the mistakes between stages."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from codec.checkpoint import load_model
from codec.checkpoint.prior import load_coding_prior, load_prior
from codec.cli import main
from codec.cli.scripts import load_stage
from codec.core.bundled import recipes_folder
from codec.core.config import load_config
from codec.core.errors import UserError
from codec.data.code_store import open_codes
from codec.files import decode_file, encode_file
from codec.models import build_model
from codec.priors.base import Condition, Geometry
from codec.priors.build import build_neural_prior
from codec.train import prior_run
from codec.train.loop import train
from codec.train.prior_task import PriorTask
from codec.train.run import RunFolder, read_metrics

RECIPE = recipes_folder() / "vqvae2_image"
PRESETS = sorted(RECIPE.glob("*.yaml"))
CLASSES = ("dark", "light")


def _loop(steps: int) -> dict:
    return {
        "steps": steps,
        "validate_every": 2,
        "save_every": 1,
        "log_every": 1,
        "device": "cpu",
        "threads": 1,
        "average_decay": 0.5,
        "optimizer": {"learning_rate": 1e-3, "warmup_steps": 1},
    }


def _config(manifest: Path) -> dict:
    stage = {"stride": 2, "width": 8, "dilations": [1]}
    pixelcnn = {"kind": "pixelcnn", "width": 8, "blocks": 1, "layers": 1, "kernel": 3, "condition_units": 1}
    context = {"kind": "context", "groups": [{"codebooks": 1, "phases": 2, "hidden": 8}]}
    training = {"batch_size": 2, "loop": _loop(2)}
    return {
        "data": {
            "train": str(manifest),
            "validation": str(manifest),
            "batch_size": 2,
            "crop": 16,
            "workers": 0,
            "weighting": "file",
        },
        "model": {
            "kind": "vqvae2",
            "media": {"kind": "image"},
            "levels": [{"encoder": {"stages": [stage]}}, {"encoder": {"stages": [stage]}}],
            "latent_dim": 4,
            "quantizer": {"kind": "ema", "codebook_size": 8},
            "chunk": 8,
        },
        "losses": {"mse": 1.0, "commitment": 0.25},
        "loop": _loop(2),
        "codes": {"crop": 16, "items": 6, "batch_size": 4},
        "priors": {
            "top": {"prior": {**pixelcnn, "attention_heads": 2}, **training},
            "bottom": {"prior": pixelcnn, **training},
        },
        "coding": {name: {"prior": context, **training} for name in ("top", "bottom")},
        "sampling": {"size": 16, "count": 4, "batch_size": 3},
    }


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config of tiny models, and the pictures that it names: two classes, six to train on and two to validate."""
    folder = tmp_path_factory.mktemp("corpus")
    generator = np.random.default_rng(0)
    lines = []
    for number in range(8):
        name = CLASSES[number % 2]
        (folder / name).mkdir(exist_ok=True)
        pixels = (number % 2) * 128 + generator.integers(0, 100, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")
        lines.append({"path": f"{name}/{number}.png", "label": name, "split": "validation" if number >= 6 else "train"})
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    preset = folder / "tiny.yaml"
    preset.write_text(yaml.safe_dump(_config(manifest), sort_keys=False))
    return preset


def _stage(name: str, run: Path, *overrides: str, config: Path | None = None, resume: bool = False) -> None:
    load_stage(RECIPE, name).main(None if config is None else str(config), list(overrides), str(run), resume)


@pytest.fixture(scope="module")
def extracted(preset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a trained model and codes with classes."""
    run = tmp_path_factory.mktemp("runs") / "extracted"
    _stage("train", run, config=preset)
    _stage("extract", run, "codes.classes=true")
    return run


@pytest.fixture(scope="module")
def finished(preset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all stages, without classes, through the command."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    assert main(["train", "vqvae2_image", "--config", str(preset), "--run", str(run)]) == 0
    for stage in ("extract", "prior", "sample"):
        assert main(["train", "vqvae2_image", "--stage", stage, "--run", str(run)]) == 0
    return run


def _sample(run: Path, *overrides: str) -> None:
    """Anew, whatever was drawn before."""
    shutil.rmtree(run / "samples", ignore_errors=True)
    _stage("sample", run, *overrides)


def test_pictures_that_are_there_are_kept_or_told_of(finished: Path) -> None:
    before = [path.stat().st_mtime_ns for path in sorted((finished / "samples").iterdir())]
    with pytest.raises(UserError, match="already holds pictures"):
        _stage("sample", finished)
    _stage("sample", finished, resume=True)
    assert [path.stat().st_mtime_ns for path in sorted((finished / "samples").iterdir())] == before


def _copy(run: Path, to: Path) -> Path:
    return Path(shutil.copytree(run, to))


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_preset_builds_its_model_and_its_priors(path: Path) -> None:
    recipe = load_config(load_stage(RECIPE, "train").Recipe, path)
    with torch.device("meta"):
        model = build_model(recipe.model)
        for trainings in (recipe.priors, recipe.coding):
            for level, training in enumerate(trainings.values()):
                prior = build_neural_prior(training.prior, Geometry.of(model.levels, level, ndim=2))
                extents = [recipe.codes.crop // grid.downsample_factor for grid in model.levels[: level + 1]]
                *coarser, codes = (torch.zeros(1, 1, n, n, dtype=torch.int64) for n in extents)
                assert prior.nll(codes, Condition(coarser=tuple(coarser))).shape == codes.shape


def test_the_papers_presets_have_the_papers_sizes() -> None:
    recipe = load_stage(RECIPE, "train").Recipe
    imagenet, ffhq = (load_config(recipe, RECIPE / f"{name}.yaml") for name in ("imagenet256", "ffhq1024"))
    sizes = [[preset.codes.crop // factor for factor in preset.model.factors] for preset in (imagenet, ffhq)]
    assert sizes == [[32, 64], [32, 64, 128]]
    for preset in (imagenet, ffhq):
        quantizer = preset.model.quantizer
        assert (quantizer.codebook_size, preset.model.latent_dim, quantizer.decay) == (512, 64, 0.99)
        assert (preset.losses["commitment"], preset.data.batch_size) == (0.25, 128)
        assert preset.loop.optimizer.learning_rate == 3e-4
        heads = [training.prior.attention_heads > 0 for training in preset.priors.values()]
        assert heads[0] and not heads[-1]


def test_all_stages_lead_to_pictures(finished: Path) -> None:
    model = load_model(finished, device="cpu")
    store = open_codes(finished / "codes")
    assert store.index.fingerprint == model.fingerprint and store.index.num_classes is None
    assert [store.index.splits.count(split) for split in ("train", "validation")] == [8, 2]
    pictures = sorted((finished / "samples").glob("0*.png"))
    assert [Image.open(path).size for path in pictures] == [(16, 16)] * 4
    assert Image.open(finished / "samples" / "grid.png").size == (2 * 16 + 3 * 4,) * 2
    assert (finished / "samples" / "levels.png").exists()


def test_the_stored_codes_are_those_of_the_model(finished: Path) -> None:
    model, store = load_model(finished, device="cpu"), open_codes(finished / "codes")
    name = next(name for name, split in zip(store.index.names, store.index.splits, strict=True) if split != "train")
    pixels = torch.from_numpy(np.array(Image.open(name))[2:18, 4:20]).permute(2, 0, 1)[None] / 127.5 - 1
    for level, codes in zip(model.encode(pixels), store.codes, strict=True):
        assert np.array_equal(level[0].numpy(), codes[store.index.names.index(name)])


def test_every_prior_tells_bits_of_training_and_of_validation(finished: Path, capsys) -> None:
    for kind in ("priors", "coding"):
        for name in ("top", "bottom"):
            lines = read_metrics(RunFolder(finished / kind / name, resume=True))
            for split in ("train", "validation"):
                assert any(
                    {"bits_per_code", "bits_per_pixel"} <= line.keys() for line in lines if line["split"] == split
                )
    _stage("prior", finished, resume=True)
    told = capsys.readouterr().out
    assert told.count("train bits_per_pixel") == told.count("validation bits_per_code") == 4


def test_the_coding_prior_codes_files(finished: Path, preset: Path, tmp_path: Path) -> None:
    prior, model = load_coding_prior(finished / "coding"), load_model(finished, device="cpu")
    assert prior.name == model.name
    source = preset.parent / "dark" / "0.png"
    encode_file(source, tmp_path / "x.vqc", model, prior=prior)
    decode_file(tmp_path / "x.vqc", tmp_path / "x.png", model, prior=prior)
    encode_file(source, tmp_path / "y.vqc", model, prior="none")
    decode_file(tmp_path / "y.vqc", tmp_path / "y.png", model)
    assert (tmp_path / "x.png").read_bytes() == (tmp_path / "y.png").read_bytes()


def _tensors_of(run: Path) -> dict[str, bytes]:
    files = sorted(run.glob("**/last.safetensors")) + sorted(run.glob("**/prior.safetensors"))
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def test_a_prior_stage_that_was_stopped_goes_on_to_the_same_priors(
    extracted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the second prior, it ends; resumed, the first is let be, the second goes on, the rest is trained."""
    whole, parts = _copy(extracted, tmp_path / "whole" / "run"), _copy(extracted, tmp_path / "parts" / "run")
    unlabelled = ("codes.classes=false",)
    for run in (whole, parts):
        (run / "codes" / "index.json").unlink()
        _stage("extract", run, *unlabelled)
    _stage("prior", whole)
    fits = []

    def stopped_in_the_second(task, *, config, run, **others):
        fits.append(run.path.name)
        minutes = 1e-9 if len(fits) == 2 else None
        return train(task, config=config.model_copy(update={"max_minutes": minutes}), run=run, **others)

    with monkeypatch.context() as patched:
        patched.setattr(prior_run, "train", stopped_in_the_second)
        _stage("prior", parts)
    assert fits == ["top", "bottom"] and not (parts / "coding").exists()
    with pytest.raises(UserError, match="pass --resume"):
        _stage("prior", parts)
    (parts / "coding" / "top").mkdir(parents=True)  # as if killed once more, before anything was saved
    _stage("prior", parts, resume=True)
    assert _tensors_of(parts) == _tensors_of(whole)


def _prior_stage_of(rank: int, port: int, run: str) -> None:
    """The stage in one of two processes, of which the first is slow to write."""
    peers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "GROUP_RANK": 0}
    peers |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test", "GROUP_WORLD_SIZE": 1}
    os.environ.update({name: str(value) for name, value in peers.items()})
    export = PriorTask.export

    def slow_export(*args, **options) -> None:
        time.sleep(1.0)
        export(*args, **options)

    PriorTask.export = slow_export
    _stage("prior", Path(run))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_train_priors_of_which_the_first_makes_the_one_to_code_with(
    extracted: Path, tmp_path: Path
) -> None:
    """Without anything to validate on, a prior is written at the very end: the second process may be ahead by then."""
    run = _copy(extracted, tmp_path / "run")
    index = run / "codes" / "index.json"
    index.write_text(index.read_text().replace('"validation"', '"test"'))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    start: Callable[..., object] = torch.multiprocessing.spawn  # pyright: ignore[reportPrivateImportUsage]
    start(_prior_stage_of, args=(port, str(run)), nprocs=2)
    assert load_coding_prior(run / "coding").model_fingerprint == load_model(run, device="cpu").fingerprint


def test_extraction_that_is_done_is_let_be_when_resumed(extracted: Path) -> None:
    before = (extracted / "codes" / "index.json").stat().st_mtime_ns
    _stage("extract", extracted, resume=True)
    assert (extracted / "codes" / "index.json").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="already holds codes"):
        _stage("extract", extracted)


def test_a_model_that_went_on_training_fits_neither_its_old_codes_nor_its_old_priors(
    finished: Path, tmp_path: Path
) -> None:
    run = _copy(finished, tmp_path / "finished")
    _stage("train", run, "loop.steps=4", resume=True)
    for stage in ("prior", "extract", "sample"):
        with pytest.raises(UserError, match=r"fingerprint|of model"):
            _stage(stage, run, resume=True)
    (run / "codes" / "index.json").unlink()
    _stage("extract", run)
    with pytest.raises(UserError, match=r"priors/top is of codes of model"):
        _stage("prior", run, resume=True)
    with pytest.raises(UserError, match=r"priors/top is for the model with fingerprint"):
        _sample(run)


def test_the_same_seed_draws_the_same_pictures_and_another_one_others(finished: Path, tmp_path: Path) -> None:
    run = _copy(finished, tmp_path / "run")
    grids = []
    for options in ((), (), ("sampling.seed=1",), ("sampling.top_k=1", "sampling.temperature=0.5")):
        _sample(run, *options)
        grids.append((run / "samples" / "grid.png").read_bytes())
    assert grids[0] == grids[1] and len(set(grids)) == 3


CLASSIFIER = '''
import torch
from torch import nn


class Brightness(nn.Module):
    """Dark is class 0, light class 1."""

    def forward(self, pictures):
        light = pictures.mean((1, 2, 3))
        return torch.stack((-light, light), 1)


def brightness():
    return Brightness()
'''


def test_classes_are_conditions_and_a_classifier_keeps_what_it_recognises(
    extracted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _copy(extracted, tmp_path / "run")
    assert open_codes(run / "codes").index.num_classes == 2
    _stage("prior", run)
    prior = load_prior(run / "priors" / "top", device="cpu")
    assert prior.geometry.num_classes == 2
    with pytest.raises(UserError, match="wanted one of dark, light"):
        _sample(run)
    (tmp_path / "judge.py").write_text(CLASSIFIER)
    monkeypatch.syspath_prepend(tmp_path)
    means = {}
    for label in CLASSES:
        options = (f"sampling.label={label}", "sampling.classifier=judge:brightness", "sampling.candidates=12")
        _sample(run, *options, "sampling.count=2")
        means[label] = np.asarray(Image.open(run / "samples" / "000.png"), dtype=float).mean()
    assert means["dark"] < means["light"]


def test_mistakes_are_one_line_each(finished: Path, preset: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="train it first"):
        _stage("extract", tmp_path / "nothing")
    with pytest.raises(UserError, match="0 classes: leave it out"):
        _sample(finished, "sampling.label=dark")
    with pytest.raises(UserError, match="a class to look for"):
        _sample(finished, "sampling.classifier=judge:brightness")
    with pytest.raises(UserError, match="priors has 0 entries"):
        _stage("train", tmp_path / "run", "priors={}", config=preset)
    with pytest.raises(UserError, match=r"codes\.crop is 10"):
        _stage("train", tmp_path / "run", "codes.crop=10", config=preset)
