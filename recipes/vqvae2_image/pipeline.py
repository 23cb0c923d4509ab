"""What the stages share: one config, and one run folder that each stage adds to.

`checkpoints/best` is the model, `codes` what it makes of the corpus, `priors/NAME` a prior per level, `coding` the
prior that files are coded with, `samples` pictures.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import PositiveFloat, PositiveInt, model_validator

from codec.core.config import Config
from codec.models.vqvae2 import VQVAE2Config
from codec.priors.context import ContextConfig
from codec.train.pictures import PictureConfig
from codec.train.prior_run import PriorTraining
from codec.train.stages import Stages

CLASSES_FILE = "classes.json"  # beside the codes: names of the classes, in the order of their numbers


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


class CodingTraining(PriorTraining):
    """A prior that becomes integers, to code with, and how it is trained."""

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


STAGES = Stages(Recipe, presets=Path(__file__).parent, default_run="runs/vqvae2_image")
