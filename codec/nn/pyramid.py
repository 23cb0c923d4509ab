"""Residual networks over pictures at falling resolution, told the rate that they work at."""

from __future__ import annotations

from math import prod

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from codec.core.config import Config
from codec.core.overlap import Span
from codec.nn.chain import Chain
from codec.nn.conv import Conv
from codec.nn.residual import ResidualUnit
from codec.nn.shuffle import DepthToSpace, SpaceToDepth


class Floor(Config):
    """A resolution: `stride` coarser than the one before, with `units` residual units of `width` channels."""

    stride: PositiveInt
    width: PositiveInt
    units: PositiveInt


class Pyramid(Config):
    """Floors from fine to coarse. A synthesis climbs down them.

    Attributes:
        floors: the first one's stride is from the pixels.
    """

    floors: tuple[Floor, ...] = Field(min_length=2)

    @property
    def downsample_factor(self) -> int:
        """Pixels per latent, per axis."""
        return prod(floor.stride for floor in self.floors)


class Analysis(nn.Module):
    """Pictures to latents; its output starts at zero.

    Shapes: `signal` `[b, channels, h, w]`, `rate` `[b]` (which of `num_rates`) to
    `[b, latent_dim, h / factor, w / factor]`.
    """

    def __init__(self, config: Pyramid, *, channels: int, latent_dim: int, num_rates: int):
        super().__init__()
        *finer, coarsest = config.floors
        layers: list[nn.Module] = []
        width, kernel = channels, 3
        for floor in finer:
            layers += [SpaceToDepth(floor.stride), Conv(width * floor.stride**2, floor.width, kernel, ndim=2)]
            layers += [*_units(floor), nn.ReLU()]
            width, kernel = floor.width, 1
        layers += [SpaceToDepth(coarsest.stride), Conv(width * coarsest.stride**2, coarsest.width, kernel, ndim=2)]
        self.fine = Chain(*layers)
        self.rate = RateBias(num_rates, coarsest.width)
        self.coarse = Chain(*_units(coarsest), nn.ReLU(), _silent(Conv(coarsest.width, latent_dim, 3, ndim=2)))

    def forward(self, signal: Tensor, rate: Tensor) -> Tensor:
        return self.coarse(self.rate(self.fine(signal), rate))

    def input_span(self, span: Span) -> Span:
        """Pixels that latents `span` depend on."""
        return self.fine.input_span(self.coarse.input_span(span))


class Synthesis(nn.Module):
    """Latents and a draft of the picture to what the draft lacks; its output starts at zero.

    Shapes: `latents` `[b, latent_dim, h / factor, w / factor]`, `draft` `[b, channels, h, w]`, `rate` `[b]` to
    `[b, channels, h, w]`.
    """

    def __init__(self, config: Pyramid, *, channels: int, latent_dim: int, num_rates: int):
        super().__init__()
        coarsest, *rest = reversed(config.floors)
        layers: list[nn.Module] = [Conv(latent_dim, coarsest.width, 3, ndim=2)]
        self.enter = Chain(*layers)
        self.rate = RateBias(num_rates, coarsest.width)
        layers = _units(coarsest)
        width, stride = coarsest.width, coarsest.stride
        for below, floor in enumerate(rest, start=1):
            layers += [nn.ReLU(), Conv(width, floor.width * stride**2, 1, ndim=2), DepthToSpace(stride)]
            if below < len(rest):
                layers += _units(floor)
            width, stride = floor.width, floor.stride
        self.rise = Chain(*layers)
        squares = channels * stride**2
        self.draft = Chain(SpaceToDepth(stride), Conv(squares, width, 3, ndim=2))
        self.fine_rate = RateBias(num_rates, width)
        leave = _silent(Conv(width, squares, 3, ndim=2))
        units = _units(config.floors[0], extra=1)
        self.finish = Chain(*units, nn.ReLU(), leave, DepthToSpace(stride))

    def forward(self, latents: Tensor, draft: Tensor, rate: Tensor) -> Tensor:
        coarse = self.rate(self.enter(latents.contiguous(memory_format=torch.channels_last)), rate)
        return self.finish(self.fine_rate(self.rise(coarse) + self.draft(draft), rate))

    def input_spans(self, span: Span) -> tuple[Span, Span]:
        """Latents, and pixels of the draft, that pixels `span` depend on."""
        middle = self.finish.input_span(span)
        return self.enter.input_span(self.rise.input_span(middle)), self.draft.input_span(middle)


class RateBias(nn.Module):
    """Adds a learned vector for each rate, zero at first: `signal` `[b, width, h, w]`, `rate` `[b]` to the same."""

    def __init__(self, num_rates: int, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_rates, width))

    def forward(self, signal: Tensor, rate: Tensor) -> Tensor:
        return signal + self.weight[rate].to(signal.dtype)[:, :, None, None]


def _units(floor: Floor, extra: int = 0) -> list[nn.Module]:
    return [ResidualUnit(floor.width, ndim=2) for _ in range(floor.units + extra)]


def _silent(conv: Conv) -> Conv:
    nn.init.zeros_(conv.weight)
    return conv
