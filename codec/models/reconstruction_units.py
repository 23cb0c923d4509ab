"""Units learnt by reconstruction: a VQ-VAE of speech whose decoder is told who speaks (Chorowski et al. 2019)."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, PositiveInt, field_validator, model_validator
from torch import Tensor

from codec.core.precision import float32_island
from codec.losses.pointwise import l1, mse
from codec.models.audible_units import AudibleConfig, AudibleUnits
from codec.models.units import Learnt, warps
from codec.nn.features import FLOOR, Features, LogMelConfig
from codec.nn.frame_decoder import FrameDecoder, FrameDecoderConfig
from codec.nn.frame_encoder import FrameEncoderConfig, build_frame_encoder
from codec.nn.griffin_lim import sound_of
from codec.quantize.build import OneCodebookConfig

RECONSTRUCTION = "reconstruction"
MIDDLE = math.log(FLOOR) / 2  # of log mel magnitudes: where the decoder starts from


class ReconstructionUnitsConfig(AudibleConfig):
    """Everything that decides the shape of the model and what it learns from.

    Attributes:
        latent_dim: channels of the latents.
        quantizer: of the latents.
        decoder: from units and a speaker to the target.
        target: the log mel magnitudes that are reconstructed, not normalised, since they are made sound of.
        warp: in training, features are those of a vocal tract longer or shorter by up to this share, the target is
            not: who speaks is then better learnt from the speaker than from the units.
    """

    kind: Literal["vqvae"] = "vqvae"
    encoder: FrameEncoderConfig = FrameEncoderConfig()
    latent_dim: PositiveInt = 64
    quantizer: OneCodebookConfig
    decoder: FrameDecoderConfig = FrameDecoderConfig()
    target: LogMelConfig = LogMelConfig(window=640, num_mels=100, normalise=False)
    warp: float = Field(default=0.0, ge=0.0, lt=0.5)

    @property
    def frames_per_unit(self) -> int:
        return self.encoder.stride

    @field_validator("target")
    @classmethod
    def _target_is_sound(cls, target: LogMelConfig) -> LogMelConfig:
        if target.normalise:
            raise ValueError("no sound can be made of normalised magnitudes: set normalise to false")
        return target

    @model_validator(mode="after")
    def _units_are_whole_frames(self) -> ReconstructionUnitsConfig:
        if self.downsample_factor % self.target.hop_length:
            raise ValueError(
                f"target.hop_length is {self.target.hop_length}, which does not divide the {self.downsample_factor} "
                "samples of a unit"
            )
        return self


class ReconstructionUnits(AudibleUnits):
    """What was said goes through the units, who said it does not, and the decoder needs both."""

    def __init__(self, config: ReconstructionUnitsConfig):
        super().__init__(config)
        self.warp, self.target = config.warp, config.target
        self.encoder = build_frame_encoder(
            config.encoder, num_features=config.features.num_features, latent_dim=config.latent_dim
        )
        self.quantizer = self._build_quantizer(config.quantizer, config.latent_dim)
        self.decoder = FrameDecoder(
            config.decoder,
            latent_dim=config.latent_dim,
            stride=config.downsample_factor // config.target.hop_length,
            num_speakers=len(self.speakers),
            num_features=config.target.num_features,
        )
        self.targets = Features(config.target, sample_rate=config.sample_rate)

    @property
    def loss_names(self) -> tuple[str, ...]:
        return (RECONSTRUCTION, *self.quantizer.loss_names)

    def forward(
        self,
        signal: Tensor,
        *,
        mask: Tensor | None = None,
        targets: Tensor | None = None,
        speakers: Tensor | None = None,
    ) -> Learnt:
        features = self.features(signal, mask, warp=warps(signal, self.warp if self.training else 0.0))
        real = self.unit_mask(mask)
        quantized = self.quantizer(self.encoder(features), mask=real)
        found = self._decode(self.jitter(quantized.latents, real), self._told(speakers, signal))
        with float32_island(signal.device.type):
            wanted, heard = self.targets(signal, mask), self.targets.frame_mask(mask)
            loss = l1(found, wanted, heard) + mse(found, wanted, heard)
        return Learnt(losses={RECONSTRUCTION: loss, **quantized.losses}, stats=quantized.stats)

    def log_mel(self, units: Tensor, speakers: Tensor) -> Tensor:
        """Log mel magnitudes `[b, num_mels, frames]` of `units` `[b, num_units]` spoken by `speakers` `[b]`."""
        return self._decode(self.embeddings(units), speakers)

    def sound(self, units: Tensor, speakers: Tensor) -> Tensor:
        return sound_of(self.log_mel(units, speakers), self.target, sample_rate=self.config.sample_rate)

    def _decode(self, latents: Tensor, speakers: Tensor) -> Tensor:
        return self.decoder(latents, speakers) + MIDDLE
