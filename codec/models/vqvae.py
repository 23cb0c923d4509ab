"""VQ-VAE (van den Oord et al. 2017) for sound and for pictures: encoder, quantizer, decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import PositiveInt
from torch import Tensor

from codec.core.errors import UserError
from codec.core.overlap import Span
from codec.core.types import Quantized
from codec.models.base import CodecConfig, CodecModel
from codec.models.chunking import Window
from codec.nn.backbone import Backbone, build_decoder, build_encoder
from codec.quantize.base import Quantizer
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


class VQVAE(CodecModel):
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

    @property
    def quantizers(self) -> Sequence[Quantizer]:
        return (self.quantizer,)

    def _reconstruct(
        self, signal: Tensor, masks: Sequence[Tensor | None], num_active: Sequence[int | None]
    ) -> tuple[Tensor, tuple[Quantized, ...]]:
        quantized = self.quantizer(self.encoder(signal), mask=masks[0], num_active=num_active[0])
        return self.decoder(quantized.latents), (quantized,)

    def _encode_window(self, window: Tensor, keep: Window, num_active: Sequence[int | None]) -> tuple[Tensor, ...]:
        return (self.quantizer.encode(self.encoder(window)[(..., *keep)], num_active=num_active[0]),)

    def _decode_window(self, codes: tuple[Tensor, ...]) -> Tensor:
        return self.decoder(self.quantizer.decode(codes[0]))

    def _encoder_span(self, codes: Span) -> Span:
        return self.encoder.input_span(codes)

    def _decoder_span(self, positions: Span) -> Span:
        return self.decoder.input_span(positions)
