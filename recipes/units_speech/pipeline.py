"""What the stages share: one config, and one run folder.

`checkpoints/best` is the model as it was trained; `units/NUMBER` the same with so many units, found by k-means.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt
from rich.progress import track
from torch import Tensor

from codec.checkpoint.units import load_units
from codec.checkpoint.weights import check_alike
from codec.core.config import load_config, one_or_more
from codec.core.errors import UserError
from codec.data.audio import read_audio
from codec.data.manifest import Entry
from codec.models.build_units import build_units
from codec.models.units import UnitModel
from codec.train import RunFolder
from codec.train.presets import find_preset
from codec.train.units import UnitsConfig

HERE = Path(__file__).parent
DEFAULT_RUN = "runs/units_speech"


Numbers = Annotated[tuple[PositiveInt, ...], one_or_more(int)]
Cause = Literal["recordings", "segments"]
Causes = Annotated[tuple[Cause, ...], one_or_more(str)]


class Recipe(UnitsConfig):
    """Everything this recipe can be told.

    Attributes:
        num_units: how many units the stage `cluster` finds, each number a model of its own; one number or a list.
        still: share of the latents, those that change least, that it looks for no units in: most are of silence.
        compensate_for: what `model.compensate_latents` takes off in that stage, one after the other: how recordings
            differ within a unit, and how latents do within a segment of sound.
    """

    num_units: Numbers = Field(default=(50, 100, 128, 200), min_length=1)
    still: float = Field(default=0.0, ge=0.0, le=0.5)
    compensate_for: Causes = Field(default=("recordings",), min_length=1)


def new_run(config: str | None, overrides: list[str], run: str | None, *, resume: bool) -> tuple[RunFolder, Recipe]:
    """The folder of a run, and its config: a preset or file, or what the folder has recorded if `resume`."""
    folder = RunFolder(run or DEFAULT_RUN, resume=resume)
    return folder, load_config(Recipe, find_preset(config, HERE, run=folder), overrides)


def clustering_run(config: str | None, overrides: list[str], run: str | None) -> tuple[Path, Recipe, UnitModel]:
    """The folder of a run, its config, and the model whose latents are clustered.

    That is the one which was trained there, or else the exported one that `start_from` names; features need neither.

    Raises:
        UserError: there is none, or the named one is of another config.
    """
    path = Path(run or DEFAULT_RUN)
    if (path / "checkpoints").exists():
        folder, recipe = new_run(config, overrides, run, resume=True)
        return folder.path, recipe, load_units(folder.path, device=recipe.loop.device)
    untrained = UserError(
        f"{path} holds no trained model: train it first, name another --run, or an exported model (start_from=MODEL) "
        "and its --config"
    )
    if config is None:
        raise untrained
    _, recipe = new_run(config, overrides, run, resume=False)
    if recipe.start_from:
        trained = load_units(recipe.start_from, device=recipe.loop.device)
        check_alike(recipe.model, trained.config, origin=recipe.start_from, leave=("quantizer.",))
        return path, recipe, trained
    model = build_units(recipe.model)
    if model.loss_names:
        raise untrained
    return path, recipe, model


def recordings(recipe: Recipe, entries: Sequence[Entry]) -> Iterator[Tensor]:
    """The speech of `entries`, `[1, time]` each."""
    for entry in track(entries, description="listening"):
        yield read_audio(entry.path, sample_rate=recipe.model.sample_rate, channels=1)[0]
