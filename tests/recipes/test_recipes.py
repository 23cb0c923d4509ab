"""Every recipe: presets hold, mistakes are found early, and it trains on a folder of generated data."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from codec.checkpoint import load_model
from codec.cli.scripts import load_script
from codec.core.bundled import recipes_folder
from codec.core.config import load_config
from codec.core.errors import UserError
from codec.models import build_model
from codec.train.run import RunFolder, read_metrics
from tests.train.corpus import write_corpus

OF_UNITS = "units_speech"  # no codec: it has a test file of its own, as the recipes of stages do
RECIPES = sorted(path.parent for path in recipes_folder().glob("*/train.py") if path.parent.name != OF_UNITS)
PLAIN = [recipe for recipe in RECIPES if (recipe / "cpu.yaml").exists()]
PRESETS = [preset for recipe in RECIPES for preset in sorted(recipe.glob("*.yaml"))]


def _load(recipe: Path) -> ModuleType:
    return load_script(recipe / "train.py")


def _write_pictures(folder: Path) -> Path:
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    lines = []
    for index in range(6):
        ramp = np.linspace(0, 255, 48)[None, :, None] * generator.random((1, 1, 3)) + 8 * generator.random((40, 48, 3))
        Image.fromarray(ramp.clip(0, 255).astype(np.uint8)).save(folder / f"{index}.png")
        lines.append({"path": f"{index}.png", "split": "train"})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / "manifest.jsonl"


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_preset_is_valid_and_builds_its_model(preset):
    config = load_config(_load(preset.parent).Recipe, preset)
    with torch.device("meta"):
        model = build_model(config.model)
    assert model.levels[0].downsample_factor == config.model.downsample_factor


@pytest.mark.parametrize("recipe", sorted(set(RECIPES) - set(PLAIN)), ids=lambda path: path.name)
def test_a_recipe_without_a_usual_preset_names_those_it_has(recipe, tmp_path):
    with pytest.raises(UserError, match="--config") as caught:
        _load(recipe).main(None, ["data.train=/nowhere"], str(tmp_path / "run"), False)
    assert all(path.name in str(caught.value) for path in recipe.glob("*.yaml"))


SMALL = [
    "loop.steps=2",
    "loop.validate_every=2",
    "loop.device=cpu",
    "loop.log_every=1",
    "data.batch_size=2",
    "data.workers=0",
]
SMALLER = {
    "vqvae_speech": ["data.crop=3200", "data.validation_crop=3200", "model.quantizer.codebook.codebook_size=8"],
    "vqvae_image": ["data.crop=16", "data.validation_crop=16", "model.quantizer.codebook_size=8", "data.scale=[1, 1]"],
    "transform_image": ["data.crop=32", "data.validation_crop=32", "data.scale=[1, 1]"],
}


@pytest.mark.parametrize("recipe", PLAIN, ids=lambda path: path.name)
def test_a_recipe_trains_its_cpu_preset_and_its_run_is_a_model(recipe, tmp_path):
    manifest = (write_corpus if recipe.name == "vqvae_speech" else _write_pictures)(tmp_path / "corpus")
    run = tmp_path / "run"
    overrides = [f"data.train={manifest}", *SMALL, *SMALLER[recipe.name]]
    _load(recipe).main("cpu.yaml", overrides, str(run), False)
    assert read_metrics(RunFolder(run, resume=True))[-1]["step"] == 2
    model = load_model(run, device="cpu")
    signal = torch.zeros(1, model.media.channels, *(33,) * model.ndim)
    assert model.decode(model.encode(signal), size=(33,) * model.ndim).shape == signal.shape


@pytest.mark.parametrize("recipe", PLAIN, ids=lambda path: path.name)
def test_mistakes_are_found_before_any_data_is_read(recipe, tmp_path):
    main = _load(recipe).main
    for overrides, named in (
        (["data.trian=x"], "data.trian"),
        (["data.crop=1001", "data.train=/nowhere"], "data.crop is 1001"),
        (["data.validation_crop=3", "data.train=/nowhere"], "data.validation_crop is 3,"),
        (["loop.optimizer.betas=[0.9, 1.5]", "data.train=/nowhere"], "betas"),
        (["losses.mell=1", "data.train=/nowhere"], "losses" if recipe.name == "transform_image" else "mell"),
        (["data.train=/nowhere/manifest.jsonl"], "/nowhere/manifest.jsonl"),
        ([], "data.train"),
    ):
        with pytest.raises(UserError, match=named):
            main("cpu.yaml", [*overrides, "loop.device=cpu"], str(tmp_path / "run"), False)
    with pytest.raises(UserError, match=r"\(.*cpu\.yaml, "):
        main("nowhere.yaml", [], str(tmp_path / "run"), False)
    assert not (tmp_path / "run").exists()
