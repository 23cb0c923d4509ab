"""What the stages share: one config, and one run folder that each stage adds to.

`checkpoints/best` is the model, `codes` what it makes of the corpus, `prior` the training of the prior, `coding` the
prior that files are coded with.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import PositiveInt

from codec.checkpoint import load_model
from codec.core.config import Config, load_config
from codec.core.errors import UserError
from codec.models.base import CodecModel
from codec.priors.frames import FrameConfig
from codec.train import RunFolder
from codec.train.presets import find_preset
from codec.train.prior_run import PriorTraining
from codec.train.sound import SoundConfig

HERE = Path(__file__).parent
DEFAULT_RUN = "runs/codec_audio"


class Extraction(Config):
    """How the codes of the corpus, recording after recording, are cut into rows that the prior learns from.

    Attributes:
        frames: codes in a row; the rest of a split that fills none is left out.
    """

    frames: PositiveInt = 500


class FrameTraining(PriorTraining):
    """The prior, which becomes integers to code with, and how it is trained."""

    prior: FrameConfig  # pyright: ignore[reportIncompatibleVariableOverride] - narrower, and never assigned to


class Recipe(SoundConfig):
    """Everything this recipe can be told."""

    codes: Extraction = Extraction()
    prior: FrameTraining | None = None


def new_run(config: str | None, overrides: list[str], run: str | None, *, resume: bool) -> tuple[RunFolder, Recipe]:
    """The folder of a run, and its config: a preset or file, or what the folder has recorded if `resume`."""
    folder = RunFolder(run or DEFAULT_RUN, resume=resume)
    return folder, load_config(Recipe, find_preset(config, HERE, run=folder), overrides)


def trained_run(config: str | None, overrides: list[str], run: str | None) -> tuple[Path, Recipe, CodecModel]:
    """The folder of a run whose model is trained, its recorded config with `overrides`, and the model.

    Raises:
        UserError: nothing has been trained there.
    """
    if not (Path(run or DEFAULT_RUN) / "checkpoints").exists():
        raise UserError(f"{run or DEFAULT_RUN} holds no trained model: train it first, or name another --run")
    folder, recipe = new_run(config, overrides, run, resume=True)
    return folder.path, recipe, load_model(folder.path, device=recipe.loop.device)
