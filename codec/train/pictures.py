"""What recipes that train on pictures can be told beyond `ReconstructionConfig`, and the task it makes."""

from __future__ import annotations

from pathlib import Path

from pydantic import model_validator

from codec.losses.lpips import load_lpips
from codec.models.build import build_model
from codec.train.adversarial import Adversary, PatchAdversaryConfig
from codec.train.recipe import ReconstructionConfig
from codec.train.task import ReconstructionTask


class PictureConfig(ReconstructionConfig):
    """Everything that a recipe for pictures can be told.

    Attributes:
        adversary: a discriminator to train against, weighted by `losses.adversarial`.
        lpips: torchvision's file of VGG-16's weights (vgg16-397923af.pth), for the loss `perceptual`.
    """

    adversary: PatchAdversaryConfig | None = None
    lpips: Path | None = None

    @model_validator(mode="after")
    def _the_discriminator_can_be_trained(self) -> PictureConfig:
        if self.adversary is None:
            return self
        smallest = self.adversary.discriminator.smallest
        if self.data.crop < smallest:
            raise ValueError(
                f"data.crop is {self.data.crop}, but the discriminator judges pictures from {smallest} pixels per "
                "side: enlarge the crop or lower adversary.discriminator.num_strided"
            )
        if self.adversary.adaptive and self.loop.compile:
            raise ValueError("adversary.adaptive looks at gradients in mid-step, which loop.compile forbids: drop one")
        return self


def build_picture_task(config: PictureConfig) -> ReconstructionTask:
    """The model of `config` with its losses; torch's global random state decides the weights.

    Raises:
        UserError: losses that are unknown, incomplete or without what they need.
    """
    model = build_model(config.model)
    return ReconstructionTask(
        model,
        config.losses,
        perceptual=load_lpips(config.lpips) if config.lpips else None,
        adversary=Adversary(config.adversary, channels=model.media.channels) if config.adversary else None,
    )
