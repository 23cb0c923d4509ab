"""Losses that pull by their weights and not by their scales."""

from __future__ import annotations

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from codec.core import dist
from codec.core.config import Config

FLOOR = 1e-12


class BalancerConfig(Config):
    """How hard the balanced losses pull together.

    Attributes:
        norm: of their gradient at the decoder's outputs if all were orthogonal and of equal weight.
        decay: of the moving average of each loss's own norm.
    """

    norm: PositiveFloat = 1.0
    decay: float = Field(default=0.999, ge=0, lt=1)


class Balancer(nn.Module):
    """Gradients g_i of losses at the decoder's outputs become norm * w_i / sum(w) * g_i / average |g_i|.

    As in Défossez et al. 2022, equation 4. The averages, over steps and ranks, are state: they are saved and resumed.

    Args:
        weights: w of every loss that may come, by name.
    """

    def __init__(self, config: BalancerConfig, weights: dict[str, float]):
        super().__init__()
        self.config = config
        self.weights = weights
        self.averages: Tensor
        self.seen: Tensor
        self.register_buffer("averages", torch.zeros(len(weights)))
        self.register_buffer("seen", torch.zeros(len(weights)))

    def forward(self, losses: dict[str, Tensor], outputs: Tensor) -> Tensor:
        """A loss of value 0 (0-d) with the balanced gradient of `losses` at `outputs`, which led to them.

        Each loss is derived once, here; whoever derives the result derives no loss again.
        """
        names = list(self.weights)
        gradients = {
            name: torch.autograd.grad(loss, outputs, retain_graph=True)[0].float() for name, loss in losses.items()
        }
        index = torch.tensor([names.index(name) for name in losses], device=outputs.device)
        norms = torch.stack([gradient.norm() for gradient in gradients.values()])
        means = dist.all_reduce_sum(norms) / dist.world_size()
        averages = self._averaged(index, means)
        total = sum(self.weights[name] for name in losses)
        shares = torch.tensor([self.weights[name] / total for name in losses], device=outputs.device)
        factors = self.config.norm * shares / averages.clamp_min(FLOOR)
        pull = torch.stack([gradient * factor for gradient, factor in zip(gradients.values(), factors, strict=True)])
        attached = (outputs.float() * pull.sum(0)).sum()
        return attached - attached.detach()

    @torch.no_grad()
    def _averaged(self, index: Tensor, norms: Tensor) -> Tensor:
        """Moving averages of the losses `index` with `norms` counted in; a new loss starts with its own norm."""
        kept = self.config.decay
        self.averages[index] = kept * self.averages[index] + (1 - kept) * norms
        self.seen[index] = kept * self.seen[index] + (1 - kept)
        return self.averages[index] / self.seen[index]
