"""From the config of a sound backend to its networks: the one place that tells backends apart."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from codec.core.config import Config
from codec.core.errors import UserError
from codec.nn.backbone import Backbone, build_decoder, build_encoder
from codec.nn.chain import Chain
from codec.nn.spectral import SpectralBackend, build_spectral_decoder, build_spectral_encoder


class WaveformBackend(Config):
    """Strided and dilated convolutions over samples.

    Attributes:
        encoder: stages from the signal to the latents.
        decoder: stages of the decoder, fine to coarse as well; the encoder's if None.
    """

    kind: Literal["waveform"] = "waveform"
    encoder: Backbone
    decoder: Backbone | None = None

    @property
    def downsample_factor(self) -> int:
        """Samples per code."""
        return self.encoder.downsample_factor


AudioBackend = Annotated[SpectralBackend | WaveformBackend, Field(discriminator="kind")]


def build_backend(
    config: SpectralBackend | WaveformBackend, *, channels: int, latent_dim: int, sample_rate: int
) -> tuple[Chain, Chain]:
    """Encoder `[b, channels, time]` to `[b, latent_dim, time / downsample_factor]`, and the decoder back.

    Args:
        sample_rate: of the sound, in Hz.

    Raises:
        UserError: the strides of a waveform encoder and decoder do not agree.
    """
    shape = {"channels": channels, "latent_dim": latent_dim}
    if isinstance(config, SpectralBackend):
        encoder = build_spectral_encoder(config, **shape, sample_rate=sample_rate)
        return encoder, build_spectral_decoder(config, **shape)
    decoder = config.decoder or config.encoder
    if decoder.downsample_factor != config.encoder.downsample_factor:
        raise UserError(
            f"the encoder downsamples by {config.encoder.downsample_factor}, the decoder upsamples by "
            f"{decoder.downsample_factor}: make their strides agree"
        )
    return build_encoder(config.encoder, ndim=1, **shape), build_decoder(decoder, ndim=1, **shape)
