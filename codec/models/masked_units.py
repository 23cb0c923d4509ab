"""Units learnt from other units: what a teacher hears in hidden stretches is told from around them (HuBERT)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from codec.core.config import Config
from codec.core.errors import UserError
from codec.core.overlap import Span
from codec.core.precision import float32_island
from codec.models.stretches import in_stretches
from codec.models.units import Learnt, UnitConfig, UnitModel, smoothed, smoothing_span, warps
from codec.nn.chain import Chain
from codec.nn.convnext import ConvNeXtBlock, FrameLinear, FrameNorm
from codec.nn.features import centred
from codec.nn.frame_encoder import FrameEncoderConfig, build_frame_encoder
from codec.nn.hiding import draw_hidden
from codec.quantize.build import OneCodebookConfig

HIDDEN = "hidden"
SEEN = "seen"


class ContextConfig(Config):
    """Layers that look around.

    Attributes:
        kernel: latents that each looks at, at its dilation, odd.
        dilations: of the layers up to the latents.
        head: dilations of the layers from the latents to the teacher's units.
    """

    kernel: PositiveInt = 7
    dilations: tuple[PositiveInt, ...] = (1, 1, 2, 2)
    head: tuple[PositiveInt, ...] = (1, 2)


class MaskedUnitsConfig(UnitConfig):
    """Everything that decides the shape of the model and what it learns from.

    Attributes:
        encoder: of the features, frame by frame.
        latent_dim: channels of the latents; None: as many as the encoder is wide.
        num_targets: units of the teacher.
        posterior_temperature: what is clustered is how likely each unit of the teacher is, in `posterior_roots` of this
            temperature, and not what that is told from; `normalise_latents` then centres the logits over a recording,
            and `smooth_latents` smooths the posteriors. None: the latents are clustered.
        quantizer: of the latents, which it teaches nothing.
        hidden: share of the latents that are hidden, in stretches of `stretch`.
        warp: in training the speech is heard with a vocal tract longer or shorter by up to this share; not so by the
            teacher.
    """

    settings = UnitConfig.settings | frozenset({"warp", "hidden", "stretch", "posterior_temperature"})
    kind: Literal["masked"] = "masked"
    encoder: FrameEncoderConfig = FrameEncoderConfig()
    context: ContextConfig = ContextConfig()
    latent_dim: PositiveInt | None = None
    num_targets: PositiveInt
    posterior_temperature: float | None = Field(default=None, ge=0.1, le=10.0)
    quantizer: OneCodebookConfig
    hidden: float = Field(default=0.5, gt=0.0, lt=1.0)
    stretch: PositiveInt = 10
    warp: float = Field(default=0.0, ge=0.0, lt=0.5)

    @property
    def prepares_latents(self) -> bool:
        return self.posterior_temperature is not None or super().prepares_latents

    @property
    def frames_per_unit(self) -> int:
        return self.encoder.stride


class MaskedUnits(UnitModel):
    """Latents from which a teacher's units can be told, where they are hidden, too (Hsu et al. 2021, eq. 1 and 2)."""

    def __init__(self, config: MaskedUnitsConfig):
        super().__init__(config)
        self.hiding, self.stretch, self.warp = config.hidden, config.stretch, config.warp
        self.temperature = config.posterior_temperature
        width, context = config.encoder.width, config.context
        self.encoder = ContextEncoder(config, num_features=config.features.num_features)
        clustered = config.num_targets if config.posterior_temperature else config.latent_dim or width
        self.quantizer = self._build_quantizer(config.quantizer, clustered)
        widened = [FrameLinear(config.latent_dim, width)] if config.latent_dim else []
        self.head = Chain(
            *widened,
            *_blocks(width, context.kernel, context.head),
            FrameNorm(width),
            FrameLinear(width, config.num_targets),
        )
        self.num_targets = config.num_targets
        self.taught = (f"head.{len(self.head) - 1}.",)

    @property
    def loss_names(self) -> tuple[str, ...]:
        return (HIDDEN, SEEN, *self.quantizer.loss_names)

    def forward(self, signal: Tensor, *, mask: Tensor | None = None, targets: Tensor | None = None) -> Learnt:
        if targets is None:
            raise UserError("masked units are learnt from the units of a teacher, and there is none: name one")
        real = self.unit_mask(mask)
        told = targets >= 0
        features = self.features(signal, mask, warp=warps(signal, self.warp if self.training else 0.0))
        hidden = self._draw_hidden(targets)
        latents = self.encoder(features, hidden)
        chances = self.head(latents)
        quantized = self.quantizer(self._clustered(latents, chances).detach(), mask=real)
        with float32_island(signal.device.type):
            chances = chances.float()
            surprise = F.cross_entropy(chances, targets.clamp_min(0), reduction="none")
            hits = (chances.argmax(1) == targets).float()
            counted = told if real is None else told & real
            losses = {HIDDEN: _mean(surprise, hidden & counted), SEEN: _mean(surprise, ~hidden & counted)}
            stats = {"hits": _mean(hits, hidden & counted), "hits_seen": _mean(hits, ~hidden & counted)}
        return Learnt(
            losses=losses | quantized.losses,
            stats={name: stat.detach() for name, stat in stats.items()} | quantized.stats,
        )

    def _clustered(self, latents: Tensor, logits: Tensor) -> Tensor:
        """What units are clusters of, before anything is prepared."""
        if self.temperature is None:
            return latents
        return posterior_roots(logits, temperature=self.temperature, smooth=False)

    @property
    def listener(self) -> nn.Module:
        return self.encoder if self.temperature is None else Chain(self.encoder, self.head)

    def _prepared(self, latents: Tensor, real: Tensor | None) -> Tensor:
        if self.temperature is None:
            return super()._prepared(latents, real)
        temperature, smooth = self.temperature, self.config.smooth_latents
        with float32_island(latents.device.type):
            logits = latents.float()
            if real is not None:
                logits = centred(logits, real) if self.config.normalise_latents else logits
                return posterior_roots(logits, temperature=temperature, smooth=smooth, real=real)
            centre = logits.mean(2, keepdim=True) if self.config.normalise_latents else 0.0

            def roots(some: Tensor) -> Tensor:
                return posterior_roots(some - centre, temperature=temperature, smooth=smooth)

            return in_stretches(roots, logits, needs=smoothing_span)

    def _draw_hidden(self, targets: Tensor) -> Tensor:
        """What is hidden of a batch: in evaluation, always the same."""
        chance = None if self.training else torch.Generator(targets.device).manual_seed(0)
        return draw_hidden(
            targets.shape, share=self.hiding, stretch=self.stretch, device=targets.device, generator=chance
        )


def posterior_roots(logits: Tensor, *, temperature: float, smooth: bool, real: Tensor | None = None) -> Tensor:
    """Square roots of the posteriors of `logits` `[b, K, n]`: float32, the same shape, each moment's of norm 1.

    Their Euclidean distance is Hellinger's, times the root of 2, and their angle Bhattacharyya's (1943): near are
    moments that are hard to tell apart, while latents are near if they were told from alike things.

    Args:
        temperature: that logits are divided by (Hinton et al. 2015, eq. 1), so that what is less likely counts, too.
        smooth: posteriors are averaged with those of their neighbours first, of `real` `[b, n]` ones if that is given.
    """
    posteriors = (logits.float() / temperature).softmax(1)
    return (smoothed(posteriors, real) if smooth else posteriors).sqrt()


class ContextEncoder(nn.Module):
    """Features `[b, num_features, frames]` to latents `[b, latent_dim, n]` that know what is around them."""

    def __init__(self, config: MaskedUnitsConfig, *, num_features: int):
        super().__init__()
        width = config.encoder.width
        self.frames = build_frame_encoder(config.encoder, num_features=num_features, latent_dim=width)
        self.stand_in = nn.Parameter(0.1 * torch.randn(width, 1))
        narrowed = [FrameLinear(width, config.latent_dim)] if config.latent_dim else []
        self.context = Chain(
            *_blocks(width, config.context.kernel, config.context.dilations), FrameNorm(width), *narrowed
        )

    def forward(self, features: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Latents; where `hidden` `[b, n]` is True, a stand-in takes the place of what was there."""
        seen = self.frames(features)
        if hidden is not None:
            seen = torch.where(hidden[:, None], self.stand_in.to(seen.dtype), seen)
        return self.context(seen)

    def input_span(self, span: Span) -> Span:
        """Features that latents `span` depend on."""
        return self.frames.input_span(self.context.input_span(span))


def _blocks(width: int, kernel: int, dilations: tuple[int, ...]) -> list[ConvNeXtBlock]:
    return [ConvNeXtBlock(width, kernel=kernel, dilation=dilation, scale=0.3) for dilation in dilations]


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    return (values * chosen).sum() / chosen.sum().clamp_min(1)
