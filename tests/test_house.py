"""The rules of the house: what README says works as written, files stay small, imports go down, recipes are whole."""

from __future__ import annotations

import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from PIL import Image

from codec.checkpoint import list_models, list_units
from codec.cli import main
from codec.core.bundled import data_prep_folder, recipes_folder
from codec.quantize.build import KINDS
from tests.conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
QUANTIZERS = (REPOSITORY / "docs" / "quantizers.md").read_text(encoding="utf-8")
LONGEST_FILE = 300  # lines
LONGEST_STORY = 150  # lines of a recipe's train.py
# Minutes long, or about other machines; `.ci/run` and the tests of the recipes run what they stand for.
NOT_RUN_HERE = ("make demo", "make test", "codec train", "codec encode speech.wav speech.vqc --model runs/", "torchrun")
BUNDLED = {card.name for card in [*list_models(), *list_units()]}


def _blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)


def _commands() -> list[str]:
    return [line for block in _blocks("sh") for line in block.splitlines() if line.strip()]


def _need_models(text: str) -> None:
    missing = [name for name in ("speech-16k", "image-vqvae") if name in text and name not in BUNDLED]
    if missing:
        pytest.skip(f"the bundled model {missing[0]} is not there yet")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of somebody who follows README: a recording, a photograph, and a folder of recordings."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "my-recordings").mkdir()
    generator = np.random.default_rng(0)
    for index, name in enumerate(("speech.wav", "my-recordings/one.wav", "my-recordings/two.wav")):
        time_s = np.arange((24000 if index else 192000) + index) / 16000  # the first has a whole chunk to cut off
        tone = 0.3 * np.sin(2 * math.pi * 150 * time_s) * (1 + np.sin(2 * math.pi * 3 * time_s))
        soundfile.write(folder / name, tone + 0.01 * generator.standard_normal(len(tone)), 16000)
    Image.effect_mandelbrot((96, 64), (-2, -1, 1, 1), 60).convert("RGB").save(folder / "photo.jpg")
    return folder


def _failure(folder: Path, *command: str) -> str | None:
    """What `command`, run in `folder`, said when it failed; None if it did not."""
    here = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{here}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return f"{command[-1]}\n{result.stdout}\n{result.stderr}" if result.returncode else None


def test_the_commands_of_the_readme_run_as_written(reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _need_models(README)
    monkeypatch.chdir(reader)
    for command in _commands():
        verb, *arguments = shlex.split(command)
        if command.startswith(NOT_RUN_HERE):
            continue
        if verb != "codec" or set(command) & set("|<>"):
            assert _failure(reader, "bash", "-o", "pipefail", "-c", command) is None
        else:  # in this process: torch is imported once
            assert main(arguments) == 0, command


@pytest.mark.parametrize("snippet", [*_blocks("python"), *_blocks("python", QUANTIZERS)])
def test_a_python_snippet_of_the_documents_runs_as_written(reader: Path, snippet: str) -> None:
    _need_models(snippet)
    assert _failure(reader, sys.executable, "-c", snippet) is None


def test_the_commands_not_run_here_are_still_in_the_readme() -> None:
    for start in NOT_RUN_HERE:
        assert any(command.startswith(start) for command in _commands()), start


def test_every_kind_of_quantizer_and_every_option_is_documented() -> None:
    for kind, config in KINDS.items():
        assert f"| `{kind}` |" in QUANTIZERS, kind
        for option in set(config.model_fields) - {"kind", "codebook_size", "decay"}:
            words = " ".join(base.__doc__ or "" for base in config.__mro__)
            described = f"`{option}" in QUANTIZERS or option in words
            assert described, f"{kind}: {option}"


def test_links_between_documents_lead_somewhere() -> None:
    for page in (*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *recipes_folder().glob("*/*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert "://" in target or (page.parent / target).exists(), f"{page} links to {target}"


def test_no_source_file_is_too_long() -> None:
    outside = [
        path for folder in ("data_prep", "recipes", "benchmarks") for path in (REPOSITORY / folder).rglob("*.py")
    ]
    files = [*_package_files(), *outside]
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {str(path): length for path, length in lengths.items() if length > LONGEST_FILE} == {}


def test_no_file_is_called_utils() -> None:
    vague = {"utils", "helpers", "common", "misc"}
    assert [str(path) for path in _package_files() if path.stem in vague or path.parent.name in vague] == []


def test_imports_go_down_and_never_in_circles() -> None:
    assert _failure(REPOSITORY, str(Path(sys.executable).parent / "lint-imports"), "--no-cache") is None


def test_nothing_is_unpickled() -> None:
    unsafe = re.compile(r"import pickle|torch\.load\((?!.*weights_only=True)|allow_pickle=True|yaml\.load\(")
    assert [str(path) for path in _package_files() if unsafe.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("recipe", sorted(path for path in recipes_folder().iterdir() if path.is_dir()))
def test_a_recipe_is_whole(recipe: Path) -> None:
    story = (recipe / "train.py").read_text(encoding="utf-8")
    assert len(story.splitlines()) < LONGEST_STORY
    assert "from recipes" not in story and "import recipes" not in story
    presets = sorted(recipe.glob("*.yaml"))
    assert any(preset.stem.endswith("cpu") for preset in presets) and len(presets) >= 2
    for preset in presets:
        assert isinstance(yaml.safe_load(preset.read_text(encoding="utf-8")), dict)
    assert f"codec train {recipe.name}" in (recipe / "README.md").read_text(encoding="utf-8")


def test_every_bundled_model_has_a_card_to_read() -> None:
    for name in BUNDLED:
        card = (REPOSITORY / "codec" / "pretrained" / name / "README.md").read_text(encoding="utf-8")
        for word in ("licence", "data", "measured"):
            assert word in card.lower(), f"the card of {name} does not speak of {word}"


def test_the_corpora_that_readme_names_have_a_preparation() -> None:
    for name in ("folder", "librispeech", "vctk", "ljspeech", "cifar10", "imagenet", "ffhq"):
        assert f"`{name}`" in README or f"codec prep {name}" in README
        assert (data_prep_folder() / f"{name}.py").is_file()


def _package_files() -> list[Path]:
    return sorted(path for path in (REPOSITORY / "codec").rglob("*.py") if "_bundled" not in path.parts)
