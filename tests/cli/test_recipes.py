"""Recipes are found by name or path, copied, imported by path, and given what was typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from codec.cli import main
from codec.cli.scripts import first_sentence, recipe_names
from codec.core.bundled import recipes_folder

ECHO = '''"""A recipe that writes down what it was told."""

import json

from beside import NAME


def main(config, overrides, run, resume):
    with open("told.json", "w") as file:
        json.dump([config, overrides, run, resume, NAME], file)
'''

RANKS = '''"""A recipe whose processes leave their ranks in the run folder."""

import os
from pathlib import Path


def main(config, overrides, run, resume):
    Path(run).mkdir(parents=True, exist_ok=True)
    (Path(run) / "{RANK} of {WORLD_SIZE}".format(**os.environ)).touch()
'''


@pytest.fixture
def recipe(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe folder of the user's own, with a second file beside train.py."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = here / "mine"
    folder.mkdir()
    (folder / "train.py").write_text(ECHO)
    (folder / "beside.py").write_text("NAME = 'beside'\n")
    return folder


def test_train_passes_on_what_was_typed(recipe: Path) -> None:
    overrides = ["loop.steps=3", "data.train=a=b.jsonl"]
    assert main(["train", "./mine", "--config", "cpu.yaml", *overrides, "--run", "runs/x", "--resume"]) == 0
    assert json.loads(Path("told.json").read_text()) == ["cpu.yaml", overrides, "runs/x", True, "beside"]


def test_a_stage_is_a_file_of_the_recipe_that_has_a_main(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (recipe / "extract.py").write_text(ECHO.replace("told.json", "extracted.json"))
    assert main(["train", "./mine", "--stage", "extract", "x=1"]) == 0
    assert json.loads(Path("extracted.json").read_text()) == [None, ["x=1"], None, False, "beside"]
    for stage in ("beside", "nothing"):
        assert main(["train", "./mine", "--stage", stage]) == 2
        assert f"no stage '{stage}': use one of extract, train" in capsys.readouterr().err


def test_a_recipe_gets_its_own_files_after_another_one(recipe: Path) -> None:
    other = recipe.parent / "other"
    other.mkdir()
    (other / "train.py").write_text(ECHO)
    (other / "beside.py").write_text("NAME = 'beside the other'\n")
    for folder, name in (("./mine", "beside"), ("./other", "beside the other"), ("./mine", "beside")):
        assert main(["train", folder]) == 0
        assert json.loads(Path("told.json").read_text())[-1] == name


def test_train_runs_in_every_process_of_torchrun(recipe: Path) -> None:
    (recipe / "train.py").write_text(RANKS)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "codec"]
    subprocess.run(
        [*command, "train", "./mine", "--run-folder", "runs/x"], check=True, capture_output=True, timeout=120
    )
    assert sorted(path.name for path in Path("runs/x").iterdir()) == ["0 of 2", "1 of 2"]


def test_train_with_nothing_but_a_recipe_leaves_the_defaults_to_it(recipe: Path) -> None:
    assert main(["train", str(recipe)]) == 0
    assert json.loads(Path("told.json").read_text()) == [None, [], None, False, "beside"]


def test_a_bare_name_is_never_a_folder_by_accident(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "mine"]) == 2
    assert "./mine" in capsys.readouterr().err


def test_list_names_every_recipe_with_its_first_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == recipe_names()
    for line in lines:
        name, _, sentence = line.partition(" ")
        assert sentence.strip() == first_sentence(recipes_folder() / name / "train.py") != ""


def test_a_copied_recipe_is_the_whole_folder_and_trains_by_path(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "copy", "vqvae_speech"]) == 0
    bundled = recipes_folder() / "vqvae_speech"
    names = {path.name for path in bundled.iterdir() if path.name != "__pycache__"}
    assert {path.name for path in Path("vqvae_speech").iterdir()} == names
    assert main(["train", "./vqvae_speech", "loop.fnord=1"]) == 2
    assert "fnord" in capsys.readouterr().err
