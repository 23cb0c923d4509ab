"""Training against a discriminator: both learn from one backward pass, each from its own loss alone."""

from __future__ import annotations

import torch
from pydantic import NonNegativeInt
from torch import Tensor, nn
from torch.func import functional_call

from codec.core.config import Config
from codec.losses.adversarial import discriminator_hinge, feature_distance, generator_hinge
from codec.losses.build import build_discriminator
from codec.losses.discriminator import PatchDiscriminatorConfig
from codec.losses.padding import without_padding
from codec.losses.sound_discriminators import SoundDiscriminatorConfig
from codec.train.config import OptimizerConfig
from codec.train.optim import ParameterGroup

ADVERSARIAL, FEATURE_MATCHING, DISCRIMINATOR = "adversarial", "feature_matching", "discriminator"


class AdversaryConfig(Config):
    """A discriminator that the model learns to please.

    Attributes:
        start_step: until then the model trains alone and the discriminator not at all.
        adaptive: scale the model's adversarial loss so that it pulls as hard as its reconstruction losses.
        optimizer: of the discriminator; its schedule counts from `start_step`.
    """

    start_step: NonNegativeInt = 0
    adaptive: bool = False
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-4, betas=(0.5, 0.9))


class PatchAdversaryConfig(AdversaryConfig):
    """One that judges patches of pictures."""

    discriminator: PatchDiscriminatorConfig = PatchDiscriminatorConfig()


class SoundAdversaryConfig(AdversaryConfig):
    """One that judges sound."""

    discriminator: SoundDiscriminatorConfig = SoundDiscriminatorConfig()


class Adversary(nn.Module):
    """The discriminator and both sides' hinge losses.

    Losses: `adversarial`, and where there are features `feature_matching`, whose gradients reach the reconstruction and
    not the discriminator; `discriminator`, whose gradient reaches the discriminator and not the reconstruction. All are
    0 before the start.
    """

    def __init__(self, config: PatchAdversaryConfig | SoundAdversaryConfig, *, channels: int):
        super().__init__()
        self.config = config
        self.discriminator = build_discriminator(config.discriminator, channels=channels)
        self.started = False

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Names of the losses that are the model's to minimise."""
        return (ADVERSARIAL, FEATURE_MATCHING) if self.discriminator.has_features else (ADVERSARIAL,)

    @property
    def group(self) -> ParameterGroup:
        """How the discriminator is to be updated."""
        parameters = list(self.discriminator.parameters())
        return ParameterGroup(parameters, self.config.optimizer, "discriminator", self.config.start_step)

    def begin(self, step: int) -> None:
        """Say which step (from 0) the next forward pass belongs to."""
        self.started = step >= self.config.start_step

    def forward(self, reconstruction: Tensor, target: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """The losses, 0-d, of `[b, c, *space]`."""
        if not self.started:
            return {name: target.new_zeros(()) for name in self.loss_names} | {DISCRIMINATOR: self._nothing()}
        fake, real = without_padding(reconstruction, target, mask)
        as_it_is = {name: weight.detach() for name, weight in self.discriminator.named_parameters()}
        judged = functional_call(self.discriminator, as_it_is, (fake,))
        of_real, of_fake = self.discriminator(torch.cat([real, fake.detach()])).halves()
        losses = {ADVERSARIAL: generator_hinge(judged), DISCRIMINATOR: discriminator_hinge(of_real, of_fake)}
        if self.discriminator.has_features:
            losses[FEATURE_MATCHING] = feature_distance(judged, of_real)
        return losses

    def _nothing(self) -> Tensor:
        """A 0 of which every weight is a part: several processes wait for a gradient of each."""
        return torch.stack([0 * weight.sum() for weight in self.discriminator.parameters()]).sum()


def parameter_groups(task: nn.Module, config: OptimizerConfig) -> list[ParameterGroup]:
    """What `config` updates of `task`, and apart from it the discriminator, if the task has an `adversary`."""
    adversary: Adversary | None = getattr(task, "adversary", None)
    apart = [adversary.group] if adversary else []
    theirs = {id(parameter) for group in apart for parameter in group.parameters}
    own = [parameter for parameter in task.parameters() if parameter.requires_grad and id(parameter) not in theirs]
    return [ParameterGroup(own, config), *apart]
