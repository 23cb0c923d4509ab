"""Encoders and decoders: stages of a strided convolution and residual units, one config for sound and pictures."""

from __future__ import annotations

from math import prod

from pydantic import Field, PositiveInt
from torch import nn

from codec.core.config import Config
from codec.nn.activation import ActivationName, build_activation
from codec.nn.chain import Chain
from codec.nn.conv import Conv, UpsamplingConv
from codec.nn.norm import ChannelNorm
from codec.nn.residual import ResidualUnit


class Stage(Config):
    """A change of resolution by `stride`, and one residual unit per dilation at the coarser side of it.

    Attributes:
        kernel: width of the convolution that changes the resolution. None: twice the stride, as in the papers' 4x4 at
            stride 2; 7 where the resolution stays.
    """

    stride: PositiveInt
    width: PositiveInt
    dilations: tuple[PositiveInt, ...] = ()
    kernel: PositiveInt | None = None


class Backbone(Config):
    """Stages from the signal to the latents. A decoder runs them backwards.

    Attributes:
        stages: fine to coarse. A first stage of stride 1 gives units at the signal's own resolution.
        kernel: width of the residual units' dilated convolutions.
        hidden: channels inside residual units as a share of the stage's width.
        causal: no output depends on later input than its own stride.
        normalise_latents: pass latents through `ChannelNorm`; for encoders of sound, whose loudness varies widely.
    """

    stages: tuple[Stage, ...] = Field(min_length=1)
    kernel: PositiveInt = 3
    hidden: float = Field(default=1.0, gt=0)
    activation: ActivationName = "relu"
    causal: bool = False
    normalise_latents: bool = False

    @property
    def downsample_factor(self) -> int:
        """Signal positions per latent, per axis."""
        return prod(stage.stride for stage in self.stages)


def build_encoder(config: Backbone, *, channels: int, latent_dim: int, ndim: int) -> Chain:
    """Signal `[b, channels, *space]` to latents `[b, latent_dim, *space / downsample_factor]`."""
    layers: list[nn.Module] = []
    width = channels
    for stage in config.stages:
        layers.append(Conv(width, stage.width, _kernel(stage), ndim=ndim, stride=stage.stride, causal=config.causal))
        layers += _units(config, stage, ndim)
        layers.append(build_activation(config.activation, inplace=True))
        width = stage.width
    layers.append(Conv(width, latent_dim, 3, ndim=ndim, causal=config.causal))
    return Chain(*layers, *([ChannelNorm()] if config.normalise_latents else []))


def build_decoder(config: Backbone, *, channels: int, latent_dim: int, ndim: int) -> Chain:
    """Latents `[b, latent_dim, *space]` to signal `[b, channels, *space * downsample_factor]`; mirrors the encoder."""
    widths = [channels] + [stage.width for stage in config.stages]
    layers: list[nn.Module] = [Conv(latent_dim, widths[-1], 3, ndim=ndim, causal=config.causal)]
    for stage, finer_width in zip(reversed(config.stages), reversed(widths[:-1]), strict=True):
        layers += _units(config, stage, ndim)
        layers.append(build_activation(config.activation, inplace=True))
        layers.append(_upsampling(stage, finer_width, ndim=ndim, causal=config.causal))
    return Chain(*layers)


def _upsampling(stage: Stage, width: int, *, ndim: int, causal: bool) -> nn.Module:
    if stage.stride == 1:
        return Conv(stage.width, width, _kernel(stage), ndim=ndim, causal=causal)
    return UpsamplingConv(stage.width, width, _kernel(stage), ndim=ndim, stride=stage.stride, causal=causal)


def _kernel(stage: Stage) -> int:
    return stage.kernel or (2 * stage.stride if stage.stride > 1 else 7)


def _units(config: Backbone, stage: Stage, ndim: int) -> list[nn.Module]:
    return [
        ResidualUnit(
            stage.width,
            ndim=ndim,
            kernel=config.kernel,
            dilation=dilation,
            hidden=max(1, round(stage.width * config.hidden)),
            activation=config.activation,
            causal=config.causal,
        )
        for dilation in stage.dilations
    ]
