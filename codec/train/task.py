"""The reconstruction objective: what a step of VQ-VAE training minimises, and what people look at meanwhile."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from codec.checkpoint.model import save_model
from codec.core.errors import UserError
from codec.core.precision import float32_island
from codec.losses.build import build_losses
from codec.models.vqvae import VQVAE


class ReconstructionTask(nn.Module):
    """Weighted reconstruction losses plus the quantizer's own (van den Oord et al. 2017, eq. 3).

    Args:
        model: what is trained and exported.
        weights: every loss that counts, by name, with its weight: reconstruction losses of `codec.losses` and the
            quantizer's (`commitment`, `codebook`, ...).

    Raises:
        UserError: a name is no loss of this signal or of this quantizer, or one of the quantizer's is missing.
    """

    def __init__(self, model: VQVAE, weights: dict[str, float]):
        super().__init__()
        self.model = model
        self.weights = dict(weights)
        of_quantizer = model.quantizer.loss_names
        for name in of_quantizer:
            if name not in weights:
                raise UserError(
                    f"losses give {name!r} no weight, but this quantizer has it: add losses.{name}=WEIGHT "
                    "(docs/quantizers.md says what to start from)"
                )
        own = [name for name in weights if name not in of_quantizer]
        if not own:
            raise UserError("no reconstruction loss among the losses: name at least one, such as mse or mel")
        self.reconstruction_losses = build_losses(own, sample_rate=self.sample_rate, others=of_quantizer)
        self.loss_modules = nn.ModuleList(x for x in self.reconstruction_losses.values() if isinstance(x, nn.Module))

    def forward(self, signal: Tensor, mask: Tensor | None = None) -> dict[str, dict[str, Tensor]]:
        """Losses of a batch, unweighted, and statistics: `{"losses": ..., "stats": ...}`, 0-d tensors by name."""
        result = self.model(signal, mask=mask)
        with float32_island(signal.device.type):
            losses = {
                name: loss(result.signal.float(), signal, mask) for name, loss in self.reconstruction_losses.items()
            }
        stats: dict[str, Tensor] = {}
        for index, level in enumerate(result.levels):
            suffix = f"/level{index}" if len(result.levels) > 1 else ""
            for name, value in level.losses.items():
                losses[name] = losses[name] + value if name in losses else value
            stats |= {name + suffix: value for name, value in level.stats.items()}
        return {"losses": losses, "stats": stats}

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The weighted sum."""
        return torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()

    @torch.no_grad()
    def samples(self, signal: Tensor) -> dict[str, Tensor]:
        """Signals to show next to one another, `[b, c, *space]` each."""
        return {"original": signal, "reconstruction": self.model(signal).signal.clamp(-1, 1).float()}

    @property
    def sample_rate(self) -> int | None:
        """Of the samples, in Hz; None for pictures."""
        return self.model.media.sample_rate if self.model.media.kind == "audio" else None

    def export(self, folder: Path, *, name: str) -> None:
        """Write the model as it is now, ready for `codec.load`."""
        save_model(self.model, folder, name=name)
