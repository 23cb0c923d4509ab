"""Units learnt from samples and heard as samples: the VQ-VAE of van den Oord et al. 2017, section 4.3."""

from __future__ import annotations

from functools import partial
from typing import Literal

from pydantic import PositiveInt, model_validator
from torch import Tensor, nn

from codec.losses.pointwise import l1
from codec.losses.spectral import MelLoss, SpectralConvergence
from codec.models.audible_units import AudibleConfig, AudibleUnits
from codec.models.stretches import in_stretches
from codec.models.units import Learnt
from codec.nn.backbone import Backbone, build_decoder, build_encoder
from codec.nn.chain import input_span
from codec.nn.features import FeatureConfig, LogMelConfig
from codec.quantize.build import OneCodebookConfig


class WaveformUnitsConfig(AudibleConfig):
    """Everything that decides the shape of the model.

    Attributes:
        features: what scores compare the units with; the model itself hears samples.
        encoder, decoder: stages between samples and latents, fine to coarse.
        latent_dim: channels of the latents.
        quantizer: of the latents.
    """

    kind: Literal["waveform_vqvae"] = "waveform_vqvae"
    features: FeatureConfig = LogMelConfig()
    encoder: Backbone
    decoder: Backbone
    latent_dim: PositiveInt = 64
    quantizer: OneCodebookConfig

    @property
    def frames_per_unit(self) -> int:
        return self.encoder.downsample_factor // self.features.hop_length

    @model_validator(mode="after")
    def _strides_agree(self) -> WaveformUnitsConfig:
        down, up, hop = self.encoder.downsample_factor, self.decoder.downsample_factor, self.features.hop_length
        if down != up:
            raise ValueError(f"the encoder downsamples by {down}, the decoder upsamples by {up}: make strides agree")
        if down % hop:
            raise ValueError(f"features.hop_length is {hop}, which does not divide the {down} samples of a unit")
        return self


class WaveformUnits(AudibleUnits):
    """Strided convolutions from samples to units, dilated ones back, told who speaks.

    The paper's decoder is an autoregressive WaveNet, which takes seconds for one of sound; this one gives all samples
    at once, and learns by how they sound. The speaker's one-hot vector, through a linear map, is added to every latent.
    """

    def __init__(self, config: WaveformUnitsConfig):
        super().__init__(config)
        shape = {"channels": 1, "latent_dim": config.latent_dim, "ndim": 1}
        self.encoder = build_encoder(config.encoder, **shape)
        self.quantizer = self._build_quantizer(config.quantizer, config.latent_dim)
        self.voices = nn.Embedding(len(self.speakers), config.latent_dim)
        self.decoder = build_decoder(config.decoder, **shape)
        self.mel, self.stft = MelLoss(config.sample_rate), SpectralConvergence()

    @property
    def loss_names(self) -> tuple[str, ...]:
        return ("mel", "stft", "l1", *self.quantizer.loss_names)

    def _encoded(self, signal: Tensor, mask: Tensor | None) -> Tensor:
        factor = self.config.downsample_factor
        return in_stretches(self.encoder, signal, needs=partial(input_span, self.encoder), stride=factor)

    def forward(
        self,
        signal: Tensor,
        *,
        mask: Tensor | None = None,
        targets: Tensor | None = None,
        speakers: Tensor | None = None,
    ) -> Learnt:
        real = self.unit_mask(mask)
        quantized = self.quantizer(self.encoder(signal), mask=real)
        found = self._decode(self.jitter(quantized.latents, real), self._told(speakers, signal))
        compared = (("mel", self.mel), ("stft", self.stft), ("l1", l1))
        losses = {name: loss(found, signal, mask) for name, loss in compared}
        return Learnt(losses=losses | quantized.losses, stats=quantized.stats)

    def sound(self, units: Tensor, speakers: Tensor) -> Tensor:
        return self._decode(self.embeddings(units), speakers)

    def _decode(self, latents: Tensor, speakers: Tensor) -> Tensor:
        return self.decoder(latents + self.voices(speakers)[..., None])
