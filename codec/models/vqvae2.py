"""VQ-VAE-2 (Razavi et al. 2019): a pyramid of codes, each level conditioned on the coarser ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Literal, cast

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from codec.core.config import Config
from codec.core.overlap import Span
from codec.core.types import Quantized
from codec.models.base import CodecConfig, CodecModel
from codec.models.chunking import Window, refined
from codec.nn.activation import build_activation
from codec.nn.attention import WindowAttention
from codec.nn.backbone import Backbone, Stage, build_decoder, build_encoder
from codec.nn.chain import Chain
from codec.nn.conv import Conv
from codec.quantize.base import Quantizer
from codec.quantize.build import QuantizerConfig, build_quantizer
from codec.quantize.ema import EMAConfig


class Level(Config):
    """One level of the pyramid.

    Attributes:
        encoder: stages from the features of the next finer level (for the finest, from the signal) to this one's.
        decoder: stages back, fine to coarse as well; the encoder's if None.
        quantizer: of this level; the model's if None.
    """

    encoder: Backbone
    decoder: Backbone | None = None
    quantizer: QuantizerConfig | None = None

    @model_validator(mode="after")
    def _goes_down_as_far_as_up(self) -> Level:
        down, up = self.encoder.downsample_factor, (self.decoder or self.encoder).downsample_factor
        if down != up:
            raise ValueError(f"the encoder downsamples by {down}, the decoder upsamples by {up}: make them agree")
        return self


FINEST = Level(
    encoder=Backbone(stages=(Stage(stride=2, width=64), Stage(stride=2, width=128, dilations=(1, 1))), hidden=0.25)
)
COARSER = Level(
    encoder=Backbone(
        stages=(Stage(stride=2, width=64), Stage(stride=1, width=128, kernel=3, dilations=(1, 1))), hidden=0.25
    ),
    decoder=Backbone(stages=(Stage(stride=2, width=128, dilations=(1, 1)),), hidden=0.25),
)


class VQVAE2Config(CodecConfig):
    """Everything that decides the shape of a VQ-VAE-2; the defaults are the paper's two levels for 256x256 pixels.

    Attributes:
        levels: coarse to fine, as codes are.
        latent_dim: channels of every level's latents, D.
        quantizer: of every level that has none of its own.
        attention_window: self-attention around the coarsest quantizer, within windows of so many codes per axis; none
            if None.
        level_dropout: probability that a training sample goes without its finest levels, so that any prefix of levels
            learns to make a picture; how many levels stay is drawn evenly.
    """

    kind: Literal["vqvae2"] = "vqvae2"
    levels: tuple[Level, ...] = Field(default=(COARSER, FINEST), min_length=2)
    latent_dim: PositiveInt = 64
    quantizer: QuantizerConfig = Field(default_factory=EMAConfig)
    attention_window: PositiveInt | None = None
    level_dropout: float = Field(default=0.0, ge=0.0, le=1.0)

    @property
    def factors(self) -> tuple[int, ...]:
        """Signal positions per code of each level, coarse to fine."""
        steps = [level.encoder.downsample_factor for level in self.levels]
        return tuple(prod(steps[index:]) for index in range(len(steps)))

    @property
    def downsample_factor(self) -> int:
        return self.factors[0]


class VQVAE2(CodecModel):
    """Encoders from fine to coarse, then level by level from the coarsest: quantize, decode to the next finer level.

    With z_i the features of level i and u_i what the coarser levels decode to at its resolution (nothing for the
    coarsest), its latents are a 1x1 convolution of (z_i, u_i), and u_(i+1) is decoded from (q_i, u_i), q_i being the
    quantized latents; the finest level decodes to the signal. One way up thus serves the finer level's encoder and the
    decoder (the paper's decoder gets the coarse codes by a convolution of their own).

    A level that is missing, or left out by `level_dropout`, has latents of zero, as code -1 has in every quantizer;
    left-out samples are also masked in that level's losses, statistics and codebook.
    """

    config: VQVAE2Config

    def __init__(self, config: VQVAE2Config):
        super().__init__(config)
        self.pyramid = nn.ModuleList(self._build_level(index) for index in range(len(config.levels)))
        self._declare_levels(*config.factors)

    @property
    def quantizers(self) -> Sequence[Quantizer]:
        return tuple(part.quantizer for part in self._parts)

    def _build_level(self, index: int) -> _PyramidLevel:
        config, dim, ndim = self.config, self.config.latent_dim, self.ndim
        level, finer = config.levels[index], config.levels[index + 1 :]
        width = level.encoder.stages[-1].width if index else dim
        encoder = build_encoder(
            level.encoder,
            channels=finer[0].encoder.stages[-1].width if finer else config.media.channels,
            latent_dim=width,
            ndim=ndim,
        )
        decoder = build_decoder(
            level.decoder or level.encoder,
            channels=dim if finer else self.num_outputs,
            latent_dim=2 * dim if index else dim,
            ndim=ndim,
        )
        if finer:
            encoder = Chain(build_activation(level.encoder.activation), *encoder)
        if config.attention_window and not index:
            encoder = Chain(*encoder, WindowAttention(dim, ndim=ndim, window=config.attention_window))
            decoder = Chain(WindowAttention(dim, ndim=ndim, window=config.attention_window), *decoder)
        join = Conv(width + dim, dim, 1, ndim=ndim) if index else None
        return _PyramidLevel(encoder, join, build_quantizer(level.quantizer or config.quantizer, dim), decoder)

    def _reconstruct(
        self, signal: Tensor, masks: Sequence[Tensor | None], num_active: Sequence[int | None]
    ) -> tuple[Tensor, tuple[Quantized, ...]]:
        features, context, levels = self._features(signal), None, []
        kept = self._draw_levels(signal) if self.training and self.config.level_dropout else None
        for index, (part, mask, active) in enumerate(zip(self._parts, masks, num_active, strict=True)):
            latents = part.latents(features[index], context)
            quantized = part.quantizer(latents, mask=_left(mask, kept, index, latents), num_active=active)
            levels.append(quantized)
            context = part.decoded(quantized.latents, context)
        assert context is not None
        return context, tuple(levels)

    def _encode_window(self, window: Tensor, keep: Window, num_active: Sequence[int | None]) -> tuple[Tensor, ...]:
        features, context, levels = self._features(window), None, []
        for index, (part, active, ratio) in enumerate(zip(self._parts, num_active, self._ratios, strict=True)):
            codes = part.quantizer.encode(part.latents(features[index], context), num_active=active)
            levels.append(codes[(..., *refined(keep, ratio))])
            if index < len(features) - 1:
                context = part.decoded(part.quantizer.decode(codes), context)
        return tuple(levels)

    def _decode_window(self, codes: tuple[Tensor, ...]) -> Tensor:
        coarsest, *finer = self._parts
        context = coarsest.decoded(coarsest.quantizer.decode(codes[0]), None)
        for index, part in enumerate(finer, start=1):
            latents = part.quantizer.decode(codes[index]) if index < len(codes) else torch.zeros_like(context)
            context = part.decoded(latents, context)
        return context

    def _encoder_span(self, codes: Span) -> Span:
        """A code depends on its level's features, and on coarser levels' by way of what their codes decode to."""
        parts, spans = self._parts, []
        for index, ratio in enumerate(self._ratios):
            wanted = Span(codes.start * ratio, codes.stop * ratio)
            for depth in range(index, -1, -1):
                spans.append(_through(wanted, [part.encoder for part in parts[depth:]]))
                if depth:
                    wanted = parts[depth - 1].decoder.input_span(wanted)
        return Span(min(span.start for span in spans), max(span.stop for span in spans))

    def _decoder_span(self, positions: Span) -> Span:
        spans, wanted = [], positions
        for part, ratio in zip(reversed(self._parts), reversed(self._ratios), strict=True):
            wanted = part.decoder.input_span(wanted)
            spans.append(Span(wanted.start // ratio, -(-wanted.stop // ratio)))
        return Span(min(span.start for span in spans), max(span.stop for span in spans))

    @property
    def _alignment(self) -> int:
        return self.config.attention_window or 1

    @property
    def _parts(self) -> tuple[_PyramidLevel, ...]:
        return tuple(cast(Iterable[_PyramidLevel], self.pyramid))

    def _features(self, signal: Tensor) -> list[Tensor]:
        """Of every level, coarse to fine, `[b, width, *space / factor]`."""
        features = [signal]
        for part in reversed(self._parts):
            features.append(part.encoder(features[-1]))
        return features[:0:-1]

    def _draw_levels(self, signal: Tensor) -> Tensor:
        """How many levels each sample keeps, `[b]`."""
        count = len(self.levels)
        fewer = torch.randint(1, count, signal.shape[:1], device=signal.device)
        goes_without = torch.rand(signal.shape[:1], device=signal.device) < self.config.level_dropout
        return torch.where(goes_without, fewer, count)


class _PyramidLevel(nn.Module):
    """The layers of one level; `context` `[b, D, *space]` is what the coarser ones decode to, None for the coarsest."""

    def __init__(self, encoder: Chain, join: Conv | None, quantizer: Quantizer, decoder: Chain):
        super().__init__()
        self.encoder, self.join, self.quantizer, self.decoder = encoder, join, quantizer, decoder

    def latents(self, features: Tensor, context: Tensor | None) -> Tensor:
        """`[b, D, *space]` to quantize."""
        return features if context is None or self.join is None else self.join(torch.cat((features, context), 1))

    def decoded(self, quantized: Tensor, context: Tensor | None) -> Tensor:
        """The context of the next finer level, or the outputs."""
        return self.decoder(quantized if context is None else torch.cat((quantized, context), 1))


def _left(mask: Tensor | None, kept: Tensor | None, index: int, latents: Tensor) -> Tensor | None:
    """`mask` `[b, *space]`, False as well for samples that do not keep level `index`."""
    if kept is None or index == 0:
        return mask
    here = (kept > index).view(-1, *(1,) * (latents.dim() - 2)).expand(latents.shape[0], *latents.shape[2:])
    return here if mask is None else here & mask


def _through(span: Span, encoders: Iterable[Chain]) -> Span:
    """Inputs of the last of `encoders`, which run from it to the first, that outputs `span` of the first depend on."""
    for encoder in encoders:
        span = encoder.input_span(span)
    return span
