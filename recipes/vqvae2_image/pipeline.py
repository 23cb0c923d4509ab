"""What the stages share: one config, and one run folder that each stage adds to.

`checkpoints/best` is the model, `codes` what it makes of the corpus, `priors/NAME` a prior per level, `coding` the
prior that files are coded with, `samples` pictures.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import PositiveFloat, PositiveInt, model_validator

from codec.checkpoint import load_model
from codec.core.config import Config, load_config
from codec.core.errors import UserError
from codec.data.code_store import CodeStore, open_codes
from codec.models.base import CodecModel
from codec.models.vqvae2 import VQVAE2Config
from codec.priors.build import NeuralConfig
from codec.priors.context import ContextConfig
from codec.train import LoopConfig, RunFolder
from codec.train.pictures import PictureConfig
from codec.train.presets import find_preset

HERE = Path(__file__).parent
CLASSES_FILE = "classes.json"  # beside the codes: names of the classes, in the order of their numbers
DEFAULT_RUN = "runs/vqvae2_image"


class Extraction(Config):
    """How the corpus is cut into squares, whose codes the priors learn.

    Attributes:
        crop: pixels per side.
        items: crops of the training files, drawn as in training, in whole batches; as many as fit into all of them if
            None.
        batch_size: crops that are held at a time.
        classes: the priors are told a picture's class, its `label` in the manifest.
    """

    crop: PositiveInt
    items: PositiveInt | None = None
    batch_size: PositiveInt = 16
    classes: bool = False


class PriorTraining(Config):
    """One prior, and how it is trained on the stored codes."""

    prior: NeuralConfig
    batch_size: PositiveInt
    loop: LoopConfig


class CodingTraining(PriorTraining):
    """The same of a prior that becomes integers, to code with."""

    prior: ContextConfig  # pyright: ignore[reportIncompatibleVariableOverride] - narrower, and never assigned to


class Sampling(Config):
    """What is drawn.

    Attributes:
        size: pixels per side.
        count: pictures.
        batch_size: pictures that are drawn at a time.
        temperature, top_k: as `codec.priors.sampling.sample`.
        label: the class, by its name; needed if the priors have classes.
        classifier: "module:function" that gives a network, pictures `[b, 3, h, w]` in [-1, 1] to logits of the classes;
            then `count` of `candidates` are kept.
    """

    size: PositiveInt
    count: PositiveInt = 16
    batch_size: PositiveInt = 16
    seed: int = 0
    temperature: PositiveFloat = 1.0
    top_k: PositiveInt | None = None
    label: str | None = None
    classifier: str | None = None
    candidates: PositiveInt = 64


class Recipe(PictureConfig):
    """Everything this recipe can be told; `priors` and `coding` have a name for every level, coarse to fine."""

    model: VQVAE2Config  # pyright: ignore[reportIncompatibleVariableOverride] - narrower, and never assigned to
    codes: Extraction
    priors: dict[str, PriorTraining]
    coding: dict[str, CodingTraining]
    sampling: Sampling

    @model_validator(mode="after")
    def _every_level_has_its_priors(self) -> Recipe:
        wanted = len(self.model.levels)
        for name in ("priors", "coding"):
            if (got := len(getattr(self, name))) != wanted:
                raise ValueError(f"{name} has {got} entries; the model has {wanted} levels: give one for each")
        for name, size in (("codes.crop", self.codes.crop), ("sampling.size", self.sampling.size)):
            if size % self.model.downsample_factor:
                raise ValueError(f"{name} is {size}: take a multiple of {self.model.downsample_factor}")
        return self


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
