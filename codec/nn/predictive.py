"""Contrastive prediction: tell the latents that follow from those that do not (van den Oord et al. 2018, CPC)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from codec.core.config import Config
from codec.core.precision import float32_island
from codec.nn.convnext import ConvNeXtBlock, FrameLinear, FrameNorm

IMPOSSIBLE = -1e9  # score of a candidate that is not there: its chance is exactly 0, and its gradient a number


class PredictorConfig(Config):
    """What predicts, and how far.

    Attributes:
        width: channels of the context.
        kernel: latents that each of its layers looks back at, at its dilation.
        dilations: of its layers.
        steps: latents ahead, each predicted by a linear map of its own.
        temperature: cosines are divided by it.
    """

    width: PositiveInt = 256
    kernel: PositiveInt = 5
    dilations: tuple[PositiveInt, ...] = (1, 2, 4, 8)
    steps: PositiveInt = 12
    temperature: PositiveFloat = 0.1


class Predictor(nn.Module):
    """Predicts latents from those before them, and says how well: InfoNCE (van den Oord et al. 2018, eq. 4).

    The candidates for each prediction are all latents of the same row, so what tells speakers and rooms apart helps
    to tell none of them, and no speaker has to be known (van Niekerk et al. 2020 draw from one speaker likewise).
    """

    def __init__(self, config: PredictorConfig, *, latent_dim: int):
        super().__init__()
        self.config, self.latent_dim = config, latent_dim
        self.context = nn.Sequential(
            FrameLinear(latent_dim, config.width),
            *(
                ConvNeXtBlock(config.width, kernel=config.kernel, dilation=dilation, causal=True, scale=0.3)
                for dilation in config.dilations
            ),
            FrameNorm(config.width),
        )
        self.maps = FrameLinear(config.width, config.steps * latent_dim)

    def forward(self, past: Tensor, future: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Loss and share of right choices, 0-d, over all steps ahead that the rows are long enough for.

        Args:
            past: latents that predictions are made from, `[b, d, n]`.
            future: latents that are predicted, `[b, d, n]`; they may be of another view of the same speech.
            mask: `[b, n]`, True where a latent is real.
        """
        count = past.shape[2]
        real = torch.ones_like(past[:, 0], dtype=torch.bool) if mask is None else mask
        predictions = self.maps(self.context(past)).unflatten(1, (self.config.steps, self.latent_dim))
        losses, hits = [], []
        with float32_island(past.device.type):
            candidates = F.normalize(future.float(), dim=1)
            predictions = F.normalize(predictions.float(), dim=2).transpose(2, 3)
            for ahead in range(1, min(self.config.steps, count - 1) + 1):
                scores = predictions[:, ahead - 1, : count - ahead] @ candidates / self.config.temperature
                scores = scores.masked_fill(~real[:, None], IMPOSSIBLE)
                wanted = torch.arange(ahead, count, device=past.device).expand(len(past), -1)
                counted = real[:, ahead:]
                chances = F.cross_entropy(scores.transpose(1, 2), wanted, reduction="none")
                total = counted.sum().clamp_min(1)
                losses.append((chances * counted).sum() / total)
                hits.append(((scores.argmax(2) == wanted) & counted).sum() / total)
        return torch.stack(losses).mean(), torch.stack(hits).mean().detach()
