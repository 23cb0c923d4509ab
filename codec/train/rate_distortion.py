"""The rate-distortion objective: bits and errors weighed against each other, at every rate of a model at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from codec.checkpoint.model import save_model
from codec.checkpoint.prior import save_prior
from codec.core.errors import UserError
from codec.core.precision import float32_island
from codec.models.transform import EIGHT_BIT, TransformCodec
from codec.priors.context import ContextPrior
from codec.priors.context_heads import OrdinalHead
from codec.priors.integer_export import to_integer

BALANCE = -0.4
"""Exponent of the weight of a rate's loss in its distortion weight: each rate's gradient is then about as large."""


@dataclass(frozen=True)
class Cost:
    """Of real pixels alone: `bits_per_pixel` `[b]`, and `squared_error` `[b]` in squared steps of an 8-bit picture."""

    bits_per_pixel: Tensor
    squared_error: Tensor


class RateDistortionTask(nn.Module):
    """Bits under a context prior plus weighted squared error (Ballé et al. 2017, eq. 9), model and prior together.

    Each row of a training batch has a rate drawn for it. The prior sees rounded latents and judges them under uniform
    noise of the rounding's width in place of rounding (Minnen and Singh 2020, section 3.3): the synthesis gets
    what it will get in files, and the bits have a gradient.

    Args:
        model: what is trained and exported.
        prior: of its codes; exported beside it, as integers.

    Raises:
        UserError: the prior is not of digits, or has biases for other rates than the model's.
    """

    sample_rate = None

    def __init__(self, model: TransformCodec, prior: ContextPrior):
        super().__init__()
        if not isinstance(prior.head, OrdinalHead):
            raise UserError(f"prior.head is {prior.context.head!r}: codes of coefficients are digits, take ordinal")
        if prior.context.rates != model.rates:
            raise UserError(f"prior.rates are {prior.context.rates}: take the model's, {list(model.rates)}")
        self.model, self.prior, self.head = model, prior, prior.head
        prior.start_at(model.start_deviations())
        self.weights: Tensor
        weights = torch.tensor([rate.distortion_weight for rate in model.points])
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, signal: Tensor, mask: Tensor | None = None) -> dict[str, dict[str, Tensor]]:
        """Mean over rows of bits per pixel plus weighted error; in evaluation over all rates, with figures of each."""
        if self.training:
            rate = torch.randint(len(self.weights), (len(signal),), device=signal.device)
            cost = self._cost(signal, rate, mask)
            importance = self.weights**BALANCE
            loss = (self._trade(cost, rate) * importance[rate] / importance.mean()).mean()
            return {"losses": {"rate_distortion": loss}, "stats": {}}
        losses, stats = [], {}
        for index, point in enumerate(self.model.points):
            rate = torch.full((len(signal),), index, device=signal.device)
            cost = self._cost(signal, rate, mask)
            losses.append(self._trade(cost, rate).mean())
            stats[f"bits_per_pixel/{point.num_active}"] = cost.bits_per_pixel.mean()
            stats[f"psnr/{point.num_active}"] = (10 * torch.log10(255**2 / cost.squared_error)).mean()
        return {"losses": {"rate_distortion": torch.stack(losses).mean()}, "stats": stats}

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The one loss."""
        return losses["rate_distortion"]

    @torch.no_grad()
    def samples(self, signal: Tensor) -> dict[str, Tensor]:
        """The original, and what the lowest, the middle and the highest rate make of it."""
        points = self.model.points
        shown = {"original": signal}
        for point in (points[0], points[len(points) // 2], points[-1]):
            decoded = self.model(signal, num_active=point.num_active).signal
            shown[f"{point.num_active} codebooks"] = decoded.clamp(-1, 1).float()
        return shown

    def export(self, folder: Path, *, name: str) -> None:
        """Write the model as it is now, ready for `codec.load`, and beside it the prior of its codes."""
        fingerprint = save_model(self.model, folder, name=name)
        save_prior(to_integer(self.prior), folder, name=name, model_fingerprint=fingerprint)

    def _cost(self, signal: Tensor, rate: Tensor, mask: Tensor | None) -> Cost:
        real = self.model.level_mask(mask, self.model.downsample_factor)
        result = self.model.code(signal, rate, mask=real)
        rounded = result.level.latents.float() * self.model.reach
        outputs = self.prior.predict(rounded, rate)
        with float32_island(signal.device.type):
            judged = result.values + torch.rand_like(result.values) - 0.5 if self.training else rounded
            bits = self.head.nll_of_values(outputs, judged) / math.log(2) * result.active
            error = ((result.signal.float() - signal) * EIGHT_BIT).square().mean(1)
            if mask is None or real is None:
                return Cost(bits.sum((1, 2, 3)) / error[0].numel(), error.mean((1, 2)))
            pixels = mask.sum((1, 2))
            return Cost((bits.sum(1) * real).sum((1, 2)) / pixels, (error * mask).sum((1, 2)) / pixels)

    def _trade(self, cost: Cost, rate: Tensor) -> Tensor:
        return cost.bits_per_pixel + self.weights[rate] * cost.squared_error
