"""A codec of sound with many rates: encoder and decoder of either backend around a quantizer."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt, model_validator

from codec.models.base import CodecConfig
from codec.models.media import AudioMedia
from codec.models.single_level import SingleLevelCodec
from codec.nn.build import AudioBackend, build_backend
from codec.nn.spectral import ENVELOPE_MELS, SpectralBackend
from codec.quantize.build import QuantizerConfig, build_quantizer


class AudioCodecConfig(CodecConfig):
    """Everything that decides the shape of an audio codec.

    Attributes:
        backend: `spectral` or `waveform`.
        latent_dim: channels between encoder and quantizer.
        quantizer: `residual` with `dropout` makes one model of as many rates as it has codebooks.
    """

    kind: Literal["audio"] = "audio"
    media: AudioMedia  # pyright: ignore[reportIncompatibleVariableOverride] - narrower, and never assigned to
    backend: AudioBackend
    latent_dim: PositiveInt
    quantizer: QuantizerConfig

    @model_validator(mode="after")
    def _latents_can_be_found(self) -> AudioCodecConfig:
        if not isinstance(self.backend, SpectralBackend) or not self.backend.transform:
            return self
        envelope, channels = self.backend.envelope_latents, self.media.channels
        if envelope >= self.latent_dim or envelope > channels * ENVELOPE_MELS:
            raise ValueError(
                f"{envelope} of {self.latent_dim} latents are for the envelope: leave some for the waveform, and take "
                f"no more than its {channels * ENVELOPE_MELS} mel bands"
            )
        parts = 2 * channels * (self.backend.window // 2 + 1)
        if self.latent_dim - envelope > parts:
            raise ValueError(f"{self.latent_dim - envelope} latents are too many for spectra of {parts} numbers")
        return self

    @property
    def downsample_factor(self) -> int:
        return self.backend.downsample_factor


class AudioCodec(SingleLevelCodec):
    """Sound to codes and back; the number of active codebooks chooses the rate (Zeghidour et al. 2021)."""

    config: AudioCodecConfig  # pyright: ignore[reportIncompatibleVariableOverride] - narrower, and never assigned to

    def __init__(self, config: AudioCodecConfig):
        super().__init__(config)
        shape = {"channels": self.num_outputs, "latent_dim": config.latent_dim}
        self.encoder, self.decoder = build_backend(config.backend, **shape, sample_rate=config.media.sample_rate)
        self.quantizer = build_quantizer(config.quantizer, config.latent_dim)
        self._declare_levels(config.downsample_factor)
