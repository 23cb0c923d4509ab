"""VQ-VAE (van den Oord et al. 2017) for sound and for pictures: encoder, quantizer, decoder."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from codec.core.errors import UserError
from codec.models.base import CodecConfig
from codec.models.single_level import SingleLevelCodec
from codec.nn.backbone import Backbone, build_decoder, build_encoder
from codec.quantize.build import QuantizerConfig, build_quantizer


class VQVAEConfig(CodecConfig):
    """Everything that decides the shape of a VQ-VAE.

    Attributes:
        encoder: stages from the signal to the latents.
        decoder: stages of the decoder, fine to coarse as well; the encoder's if None.
        latent_dim: channels between encoder and quantizer.
    """

    kind: Literal["vqvae"] = "vqvae"
    encoder: Backbone
    decoder: Backbone | None = None
    latent_dim: PositiveInt
    quantizer: QuantizerConfig

    @property
    def downsample_factor(self) -> int:
        return self.encoder.downsample_factor


class VQVAE(SingleLevelCodec):
    """Encoder, quantizer and decoder over one or two axes, one level of codes."""

    def __init__(self, config: VQVAEConfig):
        decoder = config.decoder or config.encoder
        if decoder.downsample_factor != config.encoder.downsample_factor:
            raise UserError(
                f"the encoder downsamples by {config.encoder.downsample_factor}, the decoder upsamples by "
                f"{decoder.downsample_factor}: make their strides agree"
            )
        super().__init__(config)
        shape = {"latent_dim": config.latent_dim, "ndim": self.ndim}
        self.encoder = build_encoder(config.encoder, channels=config.media.channels, **shape)
        self.quantizer = build_quantizer(config.quantizer, config.latent_dim)
        self.decoder = build_decoder(decoder, channels=self.num_outputs, **shape)
        self._declare_levels(config.downsample_factor)
