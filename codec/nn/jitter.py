"""Time jitter: latents that now and then stand in for their neighbours, so that none can rely on its exact place."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TimeJitter(nn.Module):
    """In training, a latent may give way to the one before it or after it (Chorowski et al. 2019, section II.C).

    A decoder then cannot use what one latent alone says, and a code that lasts as long as a sound serves it best. A
    neighbour that is not there, or is padding, takes no place.

    Args:
        probability: that a latent gives way, half of it to either side.

    Shapes: `[b, d, n]` to the same.
    """

    def __init__(self, probability: float):
        super().__init__()
        self.probability = probability

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Tensor:
        """Jittered `latents`, `mask` `[b, n]` True where they are real; the same outside training."""
        if not (self.training and self.probability):
            return latents
        batch, _, count = latents.shape
        draw = torch.rand(batch, count, device=latents.device)
        step = (draw > 1 - self.probability / 2).long() - (draw < self.probability / 2).long()
        place = torch.arange(count, device=latents.device).expand(batch, -1)
        source = (place + step).clamp(0, count - 1)
        if mask is not None:
            source = torch.where(mask.gather(1, source), source, place)
        return latents.gather(2, source[:, None].expand_as(latents))
