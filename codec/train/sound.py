"""What recipes that train a codec of sound can be told beyond `ReconstructionConfig`, and the task it makes."""

from __future__ import annotations

from typing import TypeVar

from pydantic import Field, PositiveInt, model_validator

from codec.checkpoint.model import load_weights
from codec.models.base import CodecModel
from codec.models.build import build_model
from codec.train.adversarial import Adversary, SoundAdversaryConfig
from codec.train.balancer import BalancerConfig
from codec.train.recipe import ReconstructionConfig
from codec.train.task import ReconstructionTask

TaskT = TypeVar("TaskT", bound=ReconstructionTask)


class SoundConfig(ReconstructionConfig):
    """Everything that a recipe for sound can be told.

    Attributes:
        adversary: a discriminator to train against, weighted by `losses.adversarial` and `losses.feature_matching`.
        losses_from_codebooks: the fewest active codebooks with which a reconstruction loss counts; with fewer, a model
            had better not try to follow the waveform.
        balancer: makes the weights of the losses shares of the gradient.
        start_from: an exported model of the same config, but for settings and codebooks that it may lack (folder, run
            folder or name), whose weights training starts from; None: random ones.
    """

    adversary: SoundAdversaryConfig | None = None
    losses_from_codebooks: dict[str, PositiveInt] = Field(default_factory=dict)
    balancer: BalancerConfig | None = None
    start_from: str | None = None

    @model_validator(mode="after")
    def _gradients_can_be_taken(self) -> SoundConfig:
        if self.loop.compile and (self.balancer or (self.adversary and self.adversary.adaptive)):
            raise ValueError(
                "balancer and adversary.adaptive look at gradients in mid-step, which loop.compile forbids: drop one"
            )
        if self.adversary is None:
            return self
        if self.balancer and self.adversary.adaptive:
            raise ValueError("balancer and adversary.adaptive both weigh the adversarial loss: drop one")
        smallest = self.adversary.discriminator.smallest
        if self.data.crop < smallest:
            raise ValueError(
                f"data.crop is {self.data.crop}, but the discriminator judges sound from {smallest} samples on: "
                "enlarge the crop or shorten adversary.discriminator.windows"
            )
        return self


def build_sound_task(config: SoundConfig) -> ReconstructionTask:
    """A model of `config` with its losses; torch's global random state decides the weights.

    Raises:
        UserError: losses that are unknown, incomplete or without what they need; a model to start from that does not
            fit.
    """
    model = build_model(config.model)
    if config.start_from:
        load_weights(model, config.start_from)
    return sound_task(ReconstructionTask, model, config)


def sound_task(kind: type[TaskT], model: CodecModel, config: SoundConfig) -> TaskT:
    """A task of that kind of `model` with the losses of `config`; errors as of the task."""
    return kind(
        model,
        config.losses,
        adversary=Adversary(config.adversary, channels=model.media.channels) if config.adversary else None,
        balancer=config.balancer,
        from_codebooks=config.losses_from_codebooks,
    )
