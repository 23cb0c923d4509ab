"""Transform coding of pictures with a network beside the cosine transform: several rates from one model.

Nonlinear transform coding (Ballé et al. 2021, section II) needs a rate term, a scalar quantizer, and long training to
get from nothing to a picture. Here the block cosine transform does the first part of the work and networks add to it
what it cannot do, on both sides; at the start they add nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from codec.core.config import Config
from codec.core.errors import UserError
from codec.core.overlap import Span
from codec.core.types import Quantized
from codec.models.base import CodecConfig, CodecModel
from codec.models.chunking import Window
from codec.nn.dct import BlockDCT, typical_deviations
from codec.nn.pyramid import Analysis, Pyramid, Synthesis
from codec.quantize.base import Quantizer
from codec.quantize.build import MultiHeadConfig, build_quantizer
from codec.quantize.fsq import FSQConfig

EIGHT_BIT = 127.5
"""Steps of an 8-bit picture per unit of a signal in [-1, 1]."""

START_SHRINKAGE, START_EXPANSION = 0.12, 0.08
"""Rounding steps; measured as best on photographs before either was learnt."""


class OperatingPoint(Config):
    """One of the rates a model works at.

    Attributes:
        num_active: codebooks that are used; tells the rates apart.
        distortion_weight: bits per pixel that one squared step of an 8-bit picture is worth (lambda in the rate-
            distortion loss); decides how finely latents are rounded at the start of training.
    """

    num_active: PositiveInt
    distortion_weight: PositiveFloat

    @property
    def step(self) -> float:
        """Width of a rounding cell, in the signal's units, at which one more bit is worth its distortion.

        A uniform quantizer of step s at high rate has a distortion of s^2 / 12, which one more bit a coefficient would
        quarter (Gersho and Gray 1992, section 5.6), so bits are worth their price at s^2 = 6 / (ln 2 x weight); the
        squared error is a mean over three colours.
        """
        return math.sqrt(18 / (math.log(2) * self.distortion_weight)) / EIGHT_BIT


class TransformConfig(CodecConfig):
    """Everything that decides the shape of a transform codec.

    Attributes:
        pyramid: the networks' floors; their downsampling is the side of the transform's blocks.
        num_codebooks: transform coefficients that are coded, each with a code of its own.
        codebook_size: values of a code, odd: whole numbers around zero.
        rates: ascending.
    """

    kind: Literal["transform"] = "transform"
    pyramid: Pyramid
    num_codebooks: PositiveInt
    codebook_size: int = Field(default=255, ge=3)
    rates: tuple[OperatingPoint, ...] = Field(min_length=1)

    @property
    def downsample_factor(self) -> int:
        return self.pyramid.downsample_factor

    @model_validator(mode="after")
    def _rates_fit(self) -> TransformConfig:
        active = [rate.num_active for rate in self.rates]
        if active != sorted(set(active)) or active[-1] != self.num_codebooks:
            raise ValueError(f"rates use {active} codebooks: want ascending numbers, the last {self.num_codebooks}")
        if self.codebook_size % 2 == 0:
            raise ValueError(f"codebook_size is {self.codebook_size}: want an odd number, so that zero is a value")
        if self.media.kind != "image" or self.media.channels != 3 or self.likelihood is not None:
            raise ValueError("a transform codec codes colour pictures, and has no likelihood")
        return self


@dataclass(frozen=True)
class Transformed:
    """A training forward pass.

    Attributes:
        signal: `[b, 3, h, w]`.
        values: latents `[b, q, h / factor, w / factor]` in rounding steps, before they were rounded.
        level: the rounded ones; those that the rate of their row leaves out are zero.
        active: `[b, q, 1, 1]` bool, which codebooks the rate of a row uses.
    """

    signal: Tensor
    values: Tensor
    level: Quantized
    active: Tensor


class TransformCodec(CodecModel):
    """Pictures to whole numbers per block and coefficient, and back; `num_active` chooses the rate."""

    config: TransformConfig  # pyright: ignore[reportIncompatibleVariableOverride] - narrower, and never assigned to

    def __init__(self, config: TransformConfig):
        super().__init__(config)
        self.points = config.rates
        num_rates, dim = len(config.rates), config.num_codebooks
        shape = {"channels": 3, "latent_dim": dim, "num_rates": num_rates}
        self.transform = BlockDCT(config.downsample_factor, dim)
        self.analysis = Analysis(config.pyramid, **shape)
        self.synthesis = Synthesis(config.pyramid, **shape)
        self.reach = config.codebook_size // 2
        rounding = FSQConfig(levels=(config.codebook_size,), bound="clip")
        self.quantizer = build_quantizer(MultiHeadConfig(num_heads=dim, codebook=rounding), dim)
        steps = torch.tensor([rate.step for rate in config.rates])
        self.log_gain = nn.Parameter(-steps.log()[:, None].repeat(1, dim))
        self.shrinkage = nn.Parameter(torch.full((num_rates, dim), START_SHRINKAGE))
        self.expansion = nn.Parameter(torch.full((num_rates, dim), START_EXPANSION))
        self.active: Tensor
        numbers = torch.tensor([rate.num_active for rate in config.rates])
        self.register_buffer("active", torch.arange(dim) < numbers[:, None], persistent=False)
        self._declare_levels(config.downsample_factor)

    def start_deviations(self) -> Tensor:
        """Standard deviations `[rates, q]` to expect of the values before training, in rounding steps."""
        return typical_deviations(self.config.num_codebooks) * self.log_gain.detach().exp()

    @property
    def quantizers(self) -> Sequence[Quantizer]:
        return (self.quantizer,)

    @property
    def rates(self) -> tuple[int, ...]:
        return tuple(point.num_active for point in self.points)

    def rate_index(self, num_active: int | None) -> int:
        """Which of `rates` uses `num_active` codebooks; the last if None.

        Raises:
            UserError: none does.
        """
        if num_active is None:
            return len(self.rates) - 1
        if num_active not in self.rates:
            known = ", ".join(map(str, self.rates))
            raise UserError(f"{self.name} works with {known} codebooks, not with {num_active}")
        return self.rates.index(num_active)

    def code(self, signal: Tensor, rate: Tensor, *, mask: Tensor | None = None) -> Transformed:
        """Reconstruct `signal` `[b, 3, h, w]`, extents multiples of `downsample_factor`, row i at rate `rate[i]`.

        Args:
            mask: `[b, h / factor, w / factor]`, True where a code stands for real pixels.
        """
        active = self.active[rate][:, :, None, None]
        values = self._values(signal, rate) * active
        level = self.quantizer(values / self.reach, mask=mask)
        if self.training:
            self._count(level.codes, rate)
        return Transformed(self._synthesise(level.latents, rate), values, level, active)

    def code_histograms(self, num_active: int | None = None) -> tuple[Tensor, ...]:
        return (self.histogram[self.rate_index(num_active)],)

    def freeze_histograms(self) -> None:
        """Scale the running counts so that each codebook's largest is 2^15, and keep at least 1 everywhere."""
        scaled = self.running_counts * (1 << 15) / self.running_counts.amax(-1, keepdim=True).clamp_min(1e-9)
        self.histogram.copy_(scaled.round().clamp_min(1))

    def _declare_levels(self, *factors: int) -> None:
        super()._declare_levels(*factors)
        shape = (len(self.points), self.config.num_codebooks, self.config.codebook_size)
        self.running_counts: Tensor
        self.register_buffer("histogram", torch.ones(shape, dtype=torch.int32))
        self.register_buffer("running_counts", torch.zeros(shape))

    def _reconstruct(
        self, signal: Tensor, masks: Sequence[Tensor | None], num_active: Sequence[int | None]
    ) -> tuple[Tensor, tuple[Quantized, ...]]:
        rate = self._rate(num_active[0], len(signal))
        result = self.code(signal, rate, mask=masks[0])
        return result.signal, (result.level,)

    def _encode_window(self, window: Tensor, keep: Window, num_active: Sequence[int | None]) -> tuple[Tensor, ...]:
        index = self.rate_index(num_active[0])
        values = self._values(window, self._rate(num_active[0], 1))[(..., *keep)]
        return (self.quantizer.encode(values / self.reach, num_active=self.rates[index]),)

    def _decode_window(self, codes: tuple[Tensor, ...]) -> Tensor:
        return self._synthesise(self.quantizer.decode(codes[0]), self._rate(codes[0].shape[1], 1))

    def _encoder_span(self, codes: Span) -> Span:
        return self.transform.input_span(codes).joined(self.analysis.input_span(codes))

    def _decoder_span(self, positions: Span) -> Span:
        latents, draft = self.synthesis.input_spans(positions)
        return latents.joined(self.transform.inverse_span(draft.joined(positions)))

    def _values(self, signal: Tensor, rate: Tensor) -> Tensor:
        """Latents in rounding steps, float32, drawn towards zero: a dead zone wider than the other cells.

        Small values are common and large ones cost bits, so the least cost is not at the nearest whole number
        (Sullivan 1996, section III); by a smooth curve, so that nothing is without a gradient.
        """
        values = (self.transform(signal) + self.analysis(signal, rate).to(self.log_gain.dtype)) * self._of_rate(
            self.log_gain.exp(), rate
        )
        reach = self._of_rate(self.shrinkage, rate)
        return values - reach * (values / reach.abs().clamp_min(1e-3)).tanh()

    def _synthesise(self, latents: Tensor, rate: Tensor) -> Tensor:
        """The picture of quantized `latents` in [-1, 1], put back part of the way that `_values` drew them."""
        values = latents.to(self.log_gain.dtype) * self.reach
        values = values + self._of_rate(self.expansion, rate) * values.detach().sign()
        coefficients = values * self._of_rate((-self.log_gain).exp(), rate)
        draft = self.transform.inverse(coefficients)
        return draft + self.synthesis(coefficients, draft, rate).to(self.log_gain.dtype)

    def _of_rate(self, table: Tensor, rate: Tensor) -> Tensor:
        """Rows of a `[rates, q]` table, to go with latents `[b, q, h, w]`."""
        return table[rate][:, :, None, None]

    def _rate(self, num_active: int | None, batch: int) -> Tensor:
        return torch.full((batch,), self.rate_index(num_active), device=self.histogram.device)

    @torch.no_grad()
    def _count(self, codes: Tensor, rate: Tensor) -> None:
        """Move the running counts of the rates that a batch was coded at; a rate that is not among them stays."""
        books = rate[:, None] * self.config.num_codebooks + torch.arange(codes.shape[1], device=codes.device)
        index = books[:, :, None, None] * self.config.codebook_size + codes.clamp_min(0)
        counts = torch.zeros_like(self.running_counts)
        counts.view(-1).index_add_(0, index.flatten(), (codes >= 0).flatten().float())
        seen = counts.sum(-1, keepdim=True) > 0
        self.running_counts.lerp_(counts, 0.01 * seen)
