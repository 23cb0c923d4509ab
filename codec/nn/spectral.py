"""Encoder and decoder of sound that work on frames of its spectrum: dilated convolution blocks at frame rate."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from codec.core.config import Config
from codec.nn.chain import Chain
from codec.nn.convnext import ConvNeXtBlock, FrameLinear, FrameNorm
from codec.nn.frames import COMPRESSION, InverseFrames, SpectrumFrames
from codec.nn.principal import Beside, NeighbourLinear

ENVELOPE_MELS = 64


class SpectralBackend(Config):
    """Short-time spectra in, short-time spectra out; many times cheaper than convolutions over samples.

    Attributes:
        hop_length: samples per code.
        window: of the spectra, in samples.
        spectra_per_code: spectra that the decoder gives for each code; they lie `hop_length / spectra_per_code` apart.
        width: channels of the blocks.
        encoder, decoder: dilations of their blocks, one block each.
        kernel: frames that a block sees, at dilation 1.
        compression: power that magnitudes of spectra are raised to, on both sides.
        transform: a linear map beside either network, of spectra to latents and back, random until `find_transform`
            finds it in data, as the recipe `codec_audio` does before its first step.
        envelope_latents: how many latents the transform gives to mel magnitudes, which come before waveforms.
        causal: no code depends on samples after its hop, no sample on later codes.
    """

    kind: Literal["spectral"] = "spectral"
    hop_length: PositiveInt = 320
    window: PositiveInt = 640
    spectra_per_code: PositiveInt = 2
    width: PositiveInt = 384
    encoder: tuple[PositiveInt, ...] = Field(default=(1, 1, 2, 2), min_length=1)
    decoder: tuple[PositiveInt, ...] = Field(default=(1, 1, 1, 2, 2, 2), min_length=1)
    kernel: PositiveInt = 7
    compression: float = Field(default=COMPRESSION, ge=0.2, le=1)
    transform: bool = False
    envelope_latents: NonNegativeInt = 0
    causal: bool = False

    @property
    def downsample_factor(self) -> int:
        """Samples per code."""
        return self.hop_length

    @model_validator(mode="after")
    def _spectra_overlap_evenly(self) -> SpectralBackend:
        hop, rest = divmod(self.hop_length, self.spectra_per_code)
        if rest or self.window % hop or self.window <= hop:
            raise ValueError(
                f"spectra of {self.window} samples, {self.spectra_per_code} per {self.hop_length}: take a window that "
                "is a multiple of, and more than, hop_length / spectra_per_code"
            )
        if self.envelope_latents and not self.transform:
            raise ValueError("envelope_latents are found by the transform: set transform=true, or leave them out")
        if self.window < self.hop_length:
            raise ValueError(f"a window of {self.window} samples leaves gaps at a hop of {self.hop_length}: widen it")
        return self


def build_spectral_encoder(config: SpectralBackend, *, channels: int, latent_dim: int, sample_rate: int) -> Chain:
    """Signal `[b, channels, time]` at `sample_rate` Hz to latents `[b, latent_dim, time / hop_length]`."""
    frames = SpectrumFrames(
        hop=config.hop_length,
        window=config.window,
        channels=channels,
        causal=config.causal,
        compression=config.compression,
        num_mels=ENVELOPE_MELS if config.envelope_latents else 0,
        sample_rate=sample_rate,
    )
    network = _network(config, frames.num_features, config.encoder, latent_dim)
    if config.transform:
        return Chain(frames, Beside(FrameLinear(frames.num_features, latent_dim), network))
    return Chain(frames, *network)


def build_spectral_decoder(config: SpectralBackend, *, channels: int, latent_dim: int) -> Chain:
    """Latents `[b, latent_dim, time]` to signal `[b, channels, time * hop_length]`."""
    inverse = InverseFrames(
        hop=config.hop_length // config.spectra_per_code,
        window=config.window,
        channels=channels,
        per_frame=config.spectra_per_code,
        causal=config.causal,
        compression=config.compression,
    )
    network = _network(config, latent_dim, config.decoder, inverse.num_features)
    if config.transform:
        return Chain(Beside(NeighbourLinear(latent_dim, inverse.num_features, causal=config.causal), network), inverse)
    return Chain(*network, inverse)


def _network(config: SpectralBackend, channels_in: int, dilations: tuple[int, ...], channels_out: int) -> Chain:
    blocks = [
        ConvNeXtBlock(config.width, kernel=config.kernel, dilation=dilation, causal=config.causal)
        for dilation in dilations
    ]
    return Chain(
        FrameLinear(channels_in, config.width),
        FrameNorm(config.width),
        *blocks,
        FrameNorm(config.width),
        FrameLinear(config.width, channels_out),
    )
