"""Models of one level: an encoder, a quantizer and a decoder in a row."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from codec.core.overlap import Span
from codec.core.types import Quantized
from codec.models.base import CodecModel, Reconstruction
from codec.models.chunking import Window
from codec.nn.chain import Chain
from codec.quantize.base import Quantizer


class SingleLevelCodec(CodecModel):
    """A subclass builds `encoder`, `quantizer` and `decoder`, then calls `_declare_levels`."""

    encoder: Chain
    quantizer: Quantizer
    decoder: Chain

    @property
    def quantizers(self) -> Sequence[Quantizer]:
        return (self.quantizer,)

    def reconstruct_codes(self, codes: Tensor) -> Reconstruction:
        """What the decoder makes of `codes` `[b, q, *space]`, -1 for none; gradients are for the decoder alone."""
        latents = self.quantizer.decode(codes).detach()
        outputs = self.decoder(latents)
        return Reconstruction(self._point(outputs), (Quantized(latents, codes),), outputs)

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
