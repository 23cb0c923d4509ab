"""What the stages of a recipe share: runs are found, and what a run holds is of its own model or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from codec.checkpoint import save_model
from codec.core.errors import UserError
from codec.data.code_store import CodeRows, write_codes
from codec.models.tiny import tiny_model
from codec.train.recipe import ReconstructionConfig
from codec.train.stages import Stages, check_fingerprint, codes_of
from tests.train.corpus import TINY


class Recipe(ReconstructionConfig):
    """Of a recipe that lies in a folder of presets."""


@pytest.fixture
def stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stages[Recipe]:
    """A recipe with the preset `tiny.yaml`, whose runs are in `runs/tiny` unless told otherwise."""
    monkeypatch.chdir(tmp_path)
    presets = tmp_path / "presets"
    presets.mkdir()
    (presets / "tiny.yaml").write_text(yaml.safe_dump({**TINY, "data": {**TINY["data"], "train": "manifest.jsonl"}}))
    return Stages(Recipe, presets=presets, default_run="runs/tiny")


def _train(stages: Stages[Recipe], run: str | None) -> str:
    """Leave what training leaves, with 5 steps on record; returns the model's fingerprint."""
    folder, recipe = stages.new_run("tiny", ["loop.steps=5"], run, resume=False)
    folder.save_config(recipe)
    folder.best.mkdir(parents=True)
    folder.last.touch()
    return save_model(tiny_model("audio"), folder.best)


@pytest.mark.parametrize(("run", "path"), [(None, "runs/tiny"), ("elsewhere", "elsewhere")])
def test_a_trained_run_is_its_folder_its_own_config_with_overrides_and_its_model(
    stages: Stages[Recipe], run: str | None, path: str
) -> None:
    fingerprint = _train(stages, run)
    trained = stages.trained_run(None, ["loop.log_every=7"], run)
    assert trained.path == Path(path)
    assert (trained.recipe.loop.steps, trained.recipe.loop.log_every) == (5, 7)
    assert trained.model.fingerprint == fingerprint


@pytest.mark.parametrize(("run", "path"), [(None, "runs/tiny"), ("elsewhere", "elsewhere")])
def test_a_run_without_a_trained_model_is_told_by_its_folder(
    stages: Stages[Recipe], run: str | None, path: str
) -> None:
    with pytest.raises(UserError, match=f"^{path} holds no trained model: train it first, or name another --run$"):
        stages.trained_run(None, [], run)


def test_codes_are_those_of_the_model_or_refused(tmp_path: Path) -> None:
    model, other = tiny_model("audio"), tiny_model("audio", seed=1)
    model.fingerprint, other.fingerprint = "a" * 16, "b" * 16
    with pytest.raises(UserError, match="holds no codes: extract them first"):
        codes_of(model, tmp_path)
    rows = [CodeRows((torch.zeros(3, 2, 5, dtype=torch.int64),), ("x", "y", "z"), "train")]
    write_codes(tmp_path / "codes", rows, model="m", fingerprint=model.fingerprint, levels=model.levels)
    assert codes_of(model, tmp_path).index.names == ("x", "y", "z")
    with pytest.raises(UserError, match=r"codes is for the model with fingerprint a{16}; this run's is b{16}: delete "):
        codes_of(other, tmp_path)


def test_what_is_for_another_model_is_named_with_the_way_out(tmp_path: Path) -> None:
    model = tiny_model("audio")
    check_fingerprint(model.fingerprint, model, what=tmp_path / "priors")
    with pytest.raises(UserError, match="priors and make it anew"):
        check_fingerprint("c" * 16, model, what=tmp_path / "priors")
