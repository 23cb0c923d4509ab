"""VQ-VAE (van den Oord et al. 2017) for sound and for pictures: encoder, quantizer, decoder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from codec.core.config import Config
from codec.core.errors import UserError
from codec.core.overlap import Chunk
from codec.core.precision import float32_island
from codec.core.types import Quantized
from codec.entropy.table import MAX_CODEBOOK_SIZE
from codec.models.chunking import codes_extent, decode_grid, encode_grid
from codec.models.media import Media
from codec.nn.backbone import Backbone, build_decoder, build_encoder
from codec.quantize.build import QuantizerConfig, build_quantizer


class VQVAEConfig(Config):
    """Everything that decides the shape of a VQ-VAE.

    Attributes:
        media: what it codes.
        encoder: stages from the signal to the latents.
        decoder: stages of the decoder, fine to coarse as well; the encoder's if None.
        latent_dim: channels between encoder and quantizer.
        chunk: codes per axis in one cell of the canonical grid; decides how much memory coding takes.
    """

    kind: Literal["vqvae"] = "vqvae"
    media: Media
    encoder: Backbone
    decoder: Backbone | None = None
    latent_dim: PositiveInt
    quantizer: QuantizerConfig
    chunk: PositiveInt


@dataclass(frozen=True)
class CodeGrid:
    """One level of codes: how many codebooks of which size, one code per `downsample_factor` positions per axis."""

    num_codebooks: int
    codebook_size: int
    downsample_factor: int


@dataclass(frozen=True)
class Reconstruction:
    """Result of a training forward pass: the reconstructed signal, and what each level's quantizer made of it."""

    signal: Tensor
    levels: tuple[Quantized, ...]


class VQVAE(nn.Module):
    """Encoder, quantizer and decoder over one or two axes, one level of codes.

    Signals are `[b, channels, *space]` in [-1, 1]; codes `[b, q, *space / downsample_factor]`, int64, in a tuple with
    one entry per level.
    """

    def __init__(self, config: VQVAEConfig):
        super().__init__()
        decoder = config.decoder or config.encoder
        if decoder.downsample_factor != config.encoder.downsample_factor:
            raise UserError(
                f"the encoder downsamples by {config.encoder.downsample_factor}, the decoder upsamples by "
                f"{decoder.downsample_factor}: make their strides agree"
            )
        self.config = config
        self.media = config.media
        self.ndim = config.media.ndim
        self.name = "unsaved"
        self.fingerprint = "0" * 16
        shape = {"channels": config.media.channels, "latent_dim": config.latent_dim, "ndim": self.ndim}
        self.encoder = build_encoder(config.encoder, **shape)
        self.quantizer = build_quantizer(config.quantizer, config.latent_dim)
        self.decoder = build_decoder(decoder, **shape)
        num_codebooks, codebook_size = self.quantizer.num_codebooks, self.quantizer.codebook_size
        if codebook_size > MAX_CODEBOOK_SIZE:
            raise UserError(
                f"the quantizer has codes of {codebook_size} values; files hold up to {MAX_CODEBOOK_SIZE}: "
                "split them with kind 'grouped'"
            )
        self.levels = (CodeGrid(num_codebooks, codebook_size, self.downsample_factor),)
        self.histogram: Tensor
        self.register_buffer("histogram", torch.ones(num_codebooks, codebook_size, dtype=torch.int64))

    @property
    def downsample_factor(self) -> int:
        """Signal positions per code, per axis: the hop length of an audio model, in samples."""
        return self.config.encoder.downsample_factor

    @property
    def frame_rate(self) -> float:
        """Codes per second of each codebook, in Hz; audio models only."""
        if self.media.kind != "audio":
            raise UserError(f"{self.name} codes pictures: it has no frame rate")
        return self.media.sample_rate / self.downsample_factor

    def forward(self, signal: Tensor, *, mask: Tensor | None = None, num_active: int | None = None) -> Reconstruction:
        """Reconstruct `signal` `[b, channels, *space]`, every extent a multiple of `downsample_factor`.

        Args:
            mask: `[b, *space]`, True where the signal is real; a latent counts if any of its positions is.
        """
        latents = self.encoder(signal)
        quantized = self.quantizer(latents, mask=self._latent_mask(mask), num_active=num_active)
        return Reconstruction(self.decoder(quantized.latents), (quantized,))

    def encode(self, signal: Tensor, *, num_active: int | None = None) -> tuple[Tensor, ...]:
        """Codes of `signal` `[b, channels, *space]` of any size from 1 up: a tuple of `[b, q, *space]`, one per level.

        Args:
            num_active: use the first `num_active` codebooks only (fewer bits); all if None.
        """
        self._check_signal(signal)
        size = tuple(signal.shape[2:])
        codes_size = codes_extent(size, self.downsample_factor)
        codes: Tensor | None = None
        for chunk in self.encode_chunks(size):
            (part,) = self.encode_chunk(signal[(..., *chunk.source)], chunk, num_active=num_active)
            codes = part.new_empty((*part.shape[:2], *codes_size)) if codes is None else codes
            codes[(..., *chunk.target)] = part
        assert codes is not None
        return (codes,)

    def decode(self, codes: tuple[Tensor, ...], *, size: tuple[int, ...] | None = None) -> Tensor:
        """Signal `[b, channels, *size]` of `codes`, a tuple of `[b, q, *space]`.

        Args:
            size: extent of the signal per axis; as long as the codes reach if None.
        """
        (level,) = codes
        size = size or tuple(extent * self.downsample_factor for extent in level.shape[2:])
        expected = codes_extent(size, self.downsample_factor)
        if tuple(level.shape[2:]) != expected:
            raise UserError(f"codes of extent {tuple(level.shape[2:])} do not make a signal of {size}: want {expected}")
        signal: Tensor | None = None
        for chunk in self.decode_chunks(size):
            part = self.decode_chunk((level[(..., *chunk.source)],), chunk)
            signal = part.new_empty((*part.shape[:2], *size)) if signal is None else signal
            signal[(..., *chunk.target)] = part
        assert signal is not None
        return signal

    def encode_chunks(self, size: tuple[int, ...]) -> Iterator[Chunk]:
        """The canonical grid for a signal of `size`: sources in samples or pixels, targets in codes."""
        return encode_grid(size, factor=self.downsample_factor, step=self.config.chunk, needs=self.encoder.input_span)

    def decode_chunks(self, size: tuple[int, ...]) -> Iterator[Chunk]:
        """The same cells for decoding: sources in codes, targets in samples or pixels."""
        return decode_grid(size, factor=self.downsample_factor, step=self.config.chunk, needs=self.decoder.input_span)

    @torch.inference_mode()
    def encode_chunk(self, window: Tensor, chunk: Chunk, *, num_active: int | None = None) -> tuple[Tensor, ...]:
        """Codes of `chunk.target` from `window` = signal[chunk.source]; rows run one by one."""
        window = self._to_own_device(window)
        overhang = [-extent % self.downsample_factor for extent in window.shape[2:]]
        padding = [side for extra in reversed(overhang) for side in (0, extra)]
        first = [part.start // self.downsample_factor for part in chunk.source]
        keep = [slice(t.start - f, t.stop - f) for t, f in zip(chunk.target, first, strict=True)]
        rows = []
        with float32_island(window.device.type):
            for row in window.split(1):
                latents = self.encoder(F.pad(row, padding, mode="replicate"))[(..., *keep)]
                rows.append(self.quantizer.encode(latents, num_active=num_active))
        return (torch.cat(rows),)

    @torch.inference_mode()
    def decode_chunk(self, codes: tuple[Tensor, ...], chunk: Chunk) -> Tensor:
        """Signal of `chunk.target` from the windows `codes` = level[chunk.source]; rows run one by one."""
        (window,) = codes
        self._check_codes(window)
        origin = [part.start * self.downsample_factor for part in chunk.source]
        keep = [slice(t.start - o, t.stop - o) for t, o in zip(chunk.target, origin, strict=True)]
        rows = []
        with float32_island(self.histogram.device.type):
            for row in window.to(self.histogram.device).split(1):
                rows.append(self.decoder(self.quantizer.decode(row))[(..., *keep)])
        return torch.cat(rows).clamp(-1.0, 1.0)

    def code_histograms(self) -> tuple[Tensor, ...]:
        """Integer counts `[q, K]` per level, each at least 1: the static model of the entropy coder."""
        return (self.histogram,)

    def freeze_histograms(self) -> None:
        """Take the quantizer's running counts as the histogram, once, so that it is an integer on every machine."""
        self.histogram.copy_(self.quantizer.code_counts().clamp_min(1))

    def _latent_mask(self, mask: Tensor | None) -> Tensor | None:
        if mask is None:
            return None
        for axis in range(1, mask.dim()):
            mask = mask.unflatten(axis, (-1, self.downsample_factor)).any(axis + 1)
        return mask

    def _to_own_device(self, signal: Tensor) -> Tensor:
        return signal.to(self.histogram.device, torch.float32)

    def _check_signal(self, signal: Tensor) -> None:
        wanted = "[b, channels, time]" if self.ndim == 1 else "[b, channels, height, width]"
        if signal.dim() != self.ndim + 2:
            raise UserError(f"signal has shape {tuple(signal.shape)}; {self.name} wants {wanted}")
        if signal.shape[1] != self.media.channels:
            raise UserError(f"signal has {signal.shape[1]} channels; {self.name} was built for {self.media.channels}")
        if 0 in signal.shape:
            raise UserError(f"signal of shape {tuple(signal.shape)} is empty: nothing to encode")

    def _check_codes(self, codes: Tensor) -> None:
        (level,) = self.levels
        if codes.dim() != self.ndim + 2 or not 1 <= codes.shape[1] <= level.num_codebooks:
            raise UserError(f"codes have shape {tuple(codes.shape)}; {self.name} has {level.num_codebooks} codebooks")
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < level.codebook_size:
            raise UserError(f"codes reach outside 0..{level.codebook_size - 1}: they are of another model")
