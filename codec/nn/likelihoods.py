"""What a decoder says of an 8-bit picture: a distribution of every value, and one picture to show for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from codec.core.config import Config
from codec.core.precision import float32_island

NUM_LEVELS = 256
HALF_LEVEL = 1 / (NUM_LEVELS - 1)  # in signal units, where levels are k / 127.5 - 1
LOG_SCALES = (-7.0, 7.0)  # from an eighth of a level to flat; beyond, nothing is gained and gradients explode


class CategoricalConfig(Config):
    """A free probability for each of the 256 levels of every channel and position."""

    kind: Literal["categorical"] = "categorical"


class LogisticMixtureConfig(Config):
    """A mixture of logistics over whole pixels, each integrated over the width of a level."""

    kind: Literal["logistic_mixture"] = "logistic_mixture"
    num_components: PositiveInt = 10


class LogitLaplaceConfig(Config):
    """A Laplace density of the logit; levels are squeezed into (`margin`, 1 - `margin`) first."""

    kind: Literal["logit_laplace"] = "logit_laplace"
    margin: float = Field(default=0.1, gt=0, lt=0.5)


AnyLikelihoodConfig = CategoricalConfig | LogisticMixtureConfig | LogitLaplaceConfig
LikelihoodConfig = Annotated[AnyLikelihoodConfig, Field(discriminator="kind")]


class Likelihood(nn.Module, ABC):
    """A distribution of pictures `[b, c, *space]`, given by a decoder's outputs `[b, num_outputs, *space]`.

    Attributes:
        num_outputs: channels that the decoder must give.
        channels: c.
        discrete: whether probabilities are those of 8-bit levels, so that nats / ln 2 are bits of the picture.
    """

    num_outputs: int
    discrete: bool

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    @abstractmethod
    def point(self, outputs: Tensor) -> Tensor:
        """The picture to show, `[b, c, *space]` in [-1, 1]."""

    @abstractmethod
    def nll(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Negative log-likelihood in nats of `target` `[b, c, *space]`, rounded to the levels k / 127.5 - 1.

        Returns:
            `[b, c, *space]` by value, or `[b, 1, *space]` where the channels of a pixel count as one; float32.
        """


class Categorical(Likelihood):
    """A softmax over the levels of every channel and position; the channels are independent given the outputs.

    What van den Oord et al. 2017 used for CIFAR-10, as its authors said afterwards. Shows the mean.
    """

    discrete = True

    def __init__(self, channels: int):
        super().__init__(channels)
        self.num_outputs = channels * NUM_LEVELS
        self.levels: Tensor
        self.register_buffer("levels", torch.linspace(-1, 1, NUM_LEVELS), persistent=False)

    def point(self, outputs: Tensor) -> Tensor:
        with float32_island(outputs.device.type):
            return (self._by_level(outputs).softmax(-1) @ self.levels).movedim(-1, 1).clamp(-1, 1)

    def nll(self, outputs: Tensor, target: Tensor) -> Tensor:
        logits, levels = self._by_level(outputs), _level_of(target).long().movedim(1, -1)
        nats = F.cross_entropy(logits.flatten(0, -2), levels.flatten(), reduction="none")
        return nats.view(levels.shape).movedim(-1, 1)

    def _by_level(self, outputs: Tensor) -> Tensor:
        """`[b, *space, c, 256]`: of outputs in channels_last memory, which they are in, a view."""
        return outputs.float().movedim(1, -1).unflatten(-1, (self.channels, NUM_LEVELS))


class LogisticMixture(Likelihood):
    """A mixture over pixels of logistics over levels (Salimans et al. 2017, equations 1 to 3).

    A level's probability is the logistic's mass over its width, the outermost levels taking the tails; within a
    component, the mean of a channel is linear in the true values of those before it, by coefficients in (-1, 1).
    Shows the mean of the components' means.
    """

    discrete = True

    def __init__(self, channels: int, *, num_components: int):
        super().__init__(channels)
        pairs = channels * (channels - 1) // 2
        self._sizes = (1, channels, channels, pairs)
        self._num_components = num_components
        self.num_outputs = num_components * sum(self._sizes)

    def point(self, outputs: Tensor) -> Tensor:
        logits, means, _, coefficients = self._parts(outputs)
        return (logits.softmax(2) * _conditioned(means, coefficients, None).clamp(-1, 1)).sum(2).clamp(-1, 1)

    def nll(self, outputs: Tensor, target: Tensor) -> Tensor:
        logits, means, log_scales, coefficients = self._parts(outputs)
        values = (_level_of(target) / 127.5 - 1).unsqueeze(2)
        log_mass = _logistic_log_mass(values, _conditioned(means, coefficients, values), log_scales)
        return -torch.logsumexp(logits.log_softmax(2) + log_mass.sum(1, keepdim=True), 2)

    def _parts(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits, means, log scales and coefficients, each `[b, channels or so, components, *space]`."""
        parts = outputs.float().unflatten(1, (-1, self._num_components))
        logits, means, log_scales, coefficients = parts.split(self._sizes, 1)
        return logits, means, log_scales.clamp(*LOG_SCALES), coefficients.tanh()


class LogitLaplace(Likelihood):
    """A Laplace distribution of the logit of a channel's value (Ramesh et al. 2021, appendix A.3).

    The value k / 255 is squeezed to x in [margin, 1 - margin], and the density is
    exp(-|logit x - mean| / scale) / (2 scale x (1 - x)). A density of x: its nats may be negative, and are not bits of
    the 8-bit picture. Shows the median.
    """

    discrete = False

    def __init__(self, channels: int, *, margin: float):
        super().__init__(channels)
        self.margin = margin
        self.num_outputs = 2 * channels

    def point(self, outputs: Tensor) -> Tensor:
        mean, _ = outputs.float().chunk(2, 1)
        return ((mean.sigmoid() - 0.5) * 2 / (1 - 2 * self.margin)).clamp(-1, 1)

    def nll(self, outputs: Tensor, target: Tensor) -> Tensor:
        mean, log_scale = outputs.float().chunk(2, 1)
        log_scale = log_scale.clamp(*LOG_SCALES)
        x = self.margin + (1 - 2 * self.margin) * _level_of(target) / (NUM_LEVELS - 1)
        return (x.logit() - mean).abs() * (-log_scale).exp() + log_scale + (2 * x * (1 - x)).log()


def build_likelihood(config: AnyLikelihoodConfig, *, channels: int) -> Likelihood:
    """The likelihood that `config` describes, for pictures of `channels` channels."""
    match config:
        case CategoricalConfig():
            return Categorical(channels)
        case LogisticMixtureConfig():
            return LogisticMixture(channels, num_components=config.num_components)
        case LogitLaplaceConfig():
            return LogitLaplace(channels, margin=config.margin)


def _level_of(target: Tensor) -> Tensor:
    return ((target.float() + 1) * 127.5).round().clamp(0, NUM_LEVELS - 1)


def _conditioned(means: Tensor, coefficients: Tensor, values: Tensor | None) -> Tensor:
    """Means `[b, c, m, *space]`, each moved by the channels before it: by their `values`, or if None by their means."""
    moved: list[Tensor] = []
    pairs = iter(coefficients.unbind(1))
    for mean in means.unbind(1):
        before = moved if values is None else list(values.unbind(1))
        moved.append(sum((next(pairs) * value for value in before[: len(moved)]), mean))
    return torch.stack(moved, 1)


def _logistic_log_mass(values: Tensor, means: Tensor, log_scales: Tensor) -> Tensor:
    """Log of a logistic's mass within half a level of `values`, or beyond, at the outermost levels.

    With a > b the ends in units of the scale, sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)), of
    which every factor has a stable logarithm; a missing end leaves its factors out.
    """
    inverse = (-log_scales).exp()
    below_upper = F.logsigmoid((values + HALF_LEVEL - means) * inverse)
    above_lower = F.logsigmoid((means - values + HALF_LEVEL) * inverse)
    width = (-torch.expm1(-2 * HALF_LEVEL * inverse)).log()
    lowest, highest = values < HALF_LEVEL - 1, values > 1 - HALF_LEVEL
    inner = torch.where(lowest | highest, 0.0, width)
    return torch.where(highest, 0.0, below_upper) + torch.where(lowest, 0.0, above_lower) + inner
