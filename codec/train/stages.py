"""What the stages of a recipe share: one config, and one run folder that each stage adds to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from codec.checkpoint import load_model
from codec.core.config import load_config
from codec.core.errors import UserError
from codec.data.code_store import CodeStore, open_codes
from codec.models.base import CodecModel
from codec.train.presets import find_preset
from codec.train.recipe import TrainingConfig
from codec.train.run import RunFolder

RecipeT = TypeVar("RecipeT", bound=TrainingConfig)


class TrainedRun(NamedTuple, Generic[RecipeT]):
    """A run whose model is trained: its folder, its recorded config with what was overridden, and the model."""

    path: Path
    recipe: RecipeT
    model: CodecModel


@dataclass(frozen=True)
class Stages(Generic[RecipeT]):
    """Opens the runs of one recipe.

    Attributes:
        recipe: the class of its config.
        presets: the folder of its presets.
        default_run: the folder of a run for which none is named.
    """

    recipe: type[RecipeT]
    presets: Path
    default_run: str

    def new_run(
        self, config: str | None, overrides: list[str], run: str | None, *, resume: bool
    ) -> tuple[RunFolder, RecipeT]:
        """The folder of a run, and its config: a preset or file, or what the folder has recorded if `resume`."""
        folder = RunFolder(run or self.default_run, resume=resume)
        return folder, load_config(self.recipe, find_preset(config, self.presets, run=folder), overrides)

    def trained_run(self, config: str | None, overrides: list[str], run: str | None) -> TrainedRun[RecipeT]:
        """The run whose model is trained; `config` is its own if None.

        Raises:
            UserError: nothing has been trained there.
        """
        path = run or self.default_run
        if not (Path(path) / "checkpoints").exists():
            raise UserError(f"{path} holds no trained model: train it first, or name another --run")
        folder, recipe = self.new_run(config, overrides, path, resume=True)
        return TrainedRun(folder.path, recipe, load_model(folder.path, device=recipe.loop.device))


def codes_of(model: CodecModel, run: Path) -> CodeStore:
    """The codes in a run folder.

    Raises:
        UserError: there are none, or they are another model's.
    """
    store = open_codes(run / "codes")
    check_fingerprint(store.index.fingerprint, model, what=store.folder)
    return store


def check_fingerprint(fingerprint: str, model: CodecModel, *, what: Path) -> None:
    """Raises UserError unless `what`, made for the model of `fingerprint`, is for `model`."""
    if fingerprint != model.fingerprint:
        raise UserError(
            f"{what} is for the model with fingerprint {fingerprint}; this run's is {model.fingerprint}: "
            f"delete {what} and make it anew"
        )
