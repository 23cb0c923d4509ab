"""Units learnt by contrastive prediction: VQ-CPC (van Niekerk et al. 2020), predicting both ways in time."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt
from torch import Tensor

from codec.models.units import Learnt, UnitConfig, UnitModel, warps
from codec.nn.frame_encoder import FrameEncoderConfig, build_frame_encoder
from codec.nn.predictive import Predictor, PredictorConfig
from codec.quantize.build import OneCodebookConfig

CONTRASTIVE = "contrastive"


class ContrastiveUnitsConfig(UnitConfig):
    """Everything that decides the shape of the model and what it learns from.

    Attributes:
        latent_dim: channels of the latents.
        quantizer: of the latents.
        bottleneck: predictions are made from quantized latents (VQ-CPC), not from the latents themselves (CPC, whose
            codebook follows the latents and teaches them nothing).
        warp: in training, past and future are heard with vocal tracts longer or shorter by up to this share.
    """

    settings = UnitConfig.settings | frozenset({"warp"})
    kind: Literal["contrastive"] = "contrastive"
    encoder: FrameEncoderConfig = FrameEncoderConfig()
    latent_dim: PositiveInt = 64
    quantizer: OneCodebookConfig
    predictor: PredictorConfig = PredictorConfig()
    bottleneck: bool = True
    warp: float = Field(default=0.0, ge=0.0, lt=0.5)

    @property
    def frames_per_unit(self) -> int:
        return self.encoder.stride


class ContrastiveUnits(UnitModel):
    """Latents from which the next ones can be told, forwards and backwards, whoever speaks."""

    def __init__(self, config: ContrastiveUnitsConfig):
        super().__init__(config)
        self.warp, self.bottleneck = config.warp, config.bottleneck
        self.encoder = build_frame_encoder(
            config.encoder, num_features=config.features.num_features, latent_dim=config.latent_dim
        )
        self.quantizer = self._build_quantizer(config.quantizer, config.latent_dim)
        self.forwards = Predictor(config.predictor, latent_dim=config.latent_dim)
        self.backwards = Predictor(config.predictor, latent_dim=config.latent_dim)

    @property
    def loss_names(self) -> tuple[str, ...]:
        return (CONTRASTIVE, *self.quantizer.loss_names)

    def forward(self, signal: Tensor, *, mask: Tensor | None = None, targets: Tensor | None = None) -> Learnt:
        real = self.unit_mask(mask)
        latents = self._view(signal, mask)
        quantized = self.quantizer(latents, mask=real)
        past = quantized.latents if self.bottleneck else latents
        future = self._view(signal, mask) if self.warp and self.training else latents
        loss, hits = self.forwards(past, future, real)
        back_loss, back_hits = self.backwards(past.flip(2), future.flip(2), None if real is None else real.flip(1))
        return Learnt(
            losses={CONTRASTIVE: (loss + back_loss) / 2, **quantized.losses},
            stats={"hits": (hits + back_hits) / 2, **quantized.stats},
        )

    def _view(self, signal: Tensor, mask: Tensor | None) -> Tensor:
        """Latents of the speech as another vocal tract might have spoken it, each row's its own."""
        warp = warps(signal, self.warp if self.training else 0.0)
        return self.encoder(self.features(signal, mask, warp=warp))
