"""The reconstruction objective: what a step of VQ-VAE training minimises, and what people look at meanwhile."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from codec.checkpoint.model import save_model
from codec.core.errors import UserError
from codec.losses.adversarial import adversarial_balance
from codec.losses.build import build_losses
from codec.losses.likelihood import bits_per_dim, nll_per_dim
from codec.losses.perceptual import PerceptualLoss
from codec.models.base import CodecModel, Reconstruction
from codec.train.adversarial import ADVERSARIAL, DISCRIMINATOR, FEATURE_MATCHING, Adversary
from codec.train.balancer import Balancer, BalancerConfig

LIKELIHOOD, BALANCE = "nll", "balance"


class ReconstructionTask(nn.Module):
    """Weighted reconstruction losses plus the quantizer's own (van den Oord et al. 2017, eq. 3).

    Args:
        model: what is trained and exported.
        weights: every loss that counts, by name, with its weight: reconstruction losses of `codec.losses`, `nll` of a
            model with a likelihood, `adversarial` with an adversary, and the quantizer's (`commitment`, ...).
        perceptual: the loss of that name.
        balancer: makes `weights` of all losses that come from the reconstruction shares of the gradient, in
            training only.
        from_codebooks: losses that count only in samples of which the coarsest level has so many codebooks or more.
        adversary: learns to tell reconstructions from originals; in training only, since no two of its states judge
            alike.

    Raises:
        UserError: a name is no loss of this signal or of this model, or one that the model needs is missing.
    """

    def __init__(
        self,
        model: CodecModel,
        weights: dict[str, float],
        *,
        perceptual: PerceptualLoss | None = None,
        adversary: Adversary | None = None,
        balancer: BalancerConfig | None = None,
        from_codebooks: dict[str, int] | None = None,
    ):
        super().__init__()
        self.model = model
        self.adversary = adversary
        self.weights = {**weights, DISCRIMINATOR: 1.0} if adversary else dict(weights)
        for name in model.loss_names:
            if name not in weights:
                raise UserError(
                    f"losses give {name!r} no weight, but this quantizer has it: add losses.{name}=WEIGHT "
                    "(docs/quantizers.md says what to start from)"
                )
        if LIKELIHOOD in weights and model.likelihood is None:
            raise UserError("loss 'nll' needs a likelihood, this model has none: add model.likelihood.kind=categorical")
        judged = adversary.loss_names if adversary else ()
        for name in (ADVERSARIAL, FEATURE_MATCHING):
            if (name in weights) != (name in judged):
                raise UserError(
                    f"loss {name!r} and an adversary that gives it need each other: give losses.{name}=WEIGHT and "
                    "adversary.start_step=STEP, or neither"
                )
        of_model = (*model.loss_names, *([LIKELIHOOD] if model.likelihood else []))
        elsewhere = {*of_model, *judged}
        own = [name for name in weights if name not in elsewhere]
        if not own and LIKELIHOOD not in weights:
            raise UserError("no reconstruction loss among the losses: name at least one, such as mse or mel")
        self.reconstruction_losses = build_losses(
            own, sample_rate=self.sample_rate, perceptual=perceptual, sparse=True, others=of_model
        )
        self.from_codebooks = from_codebooks or {}
        if unknown := sorted(self.from_codebooks.keys() - self.reconstruction_losses.keys()):
            raise UserError(f"losses_from_codebooks names {unknown[0]!r}: give it a weight in losses, or leave it out")
        self.loss_modules = nn.ModuleList(x for x in self.reconstruction_losses.values() if isinstance(x, nn.Module))
        pulling = {name: weight for name, weight in weights.items() if name not in model.loss_names}
        self.balancer = Balancer(balancer, pulling) if balancer else None
        if balancer:
            self.weights[BALANCE] = 1.0

    def forward(self, signal: Tensor, mask: Tensor | None = None) -> dict[str, dict[str, Tensor]]:
        """Losses of a batch, unweighted, and statistics: `{"losses": ..., "stats": ...}`, 0-d tensors by name."""
        result = self._run(signal, mask)
        losses, stats = self._reconstruction(result, signal, mask)
        if self.adversary and self.training:
            judged = self.adversary(result.signal, signal, mask)
            if self.adversary.config.adaptive and self.adversary.started:
                balance = adversarial_balance(self.total(losses), judged[ADVERSARIAL], result.outputs)
                judged[ADVERSARIAL] = balance * judged[ADVERSARIAL]
                stats["adversarial_balance"] = balance
            losses |= judged
        if self.balancer and self.training:
            losses |= self._balanced(losses, result.outputs)
        for index, level in enumerate(result.levels):
            suffix = f"/level{index}" if len(result.levels) > 1 else ""
            for name, value in level.losses.items():
                losses[name] = losses[name] + value if name in losses else value
            stats |= {name + suffix: value for name, value in level.stats.items()}
        return {"losses": losses, "stats": stats}

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The weighted sum; in validation without the quantizer's own losses.

        Those grow with the scale of the latents, which means nothing, and would decide which weights are best.
        """
        own = () if self.training else self.model.loss_names
        return torch.stack([self.weights[name] * loss for name, loss in losses.items() if name not in own]).sum()

    @torch.no_grad()
    def samples(self, signal: Tensor) -> dict[str, Tensor]:
        """Signals to show next to one another, `[b, c, *space]` each."""
        return {"original": signal, "reconstruction": self._run(signal, None).signal.clamp(-1, 1).float()}

    @property
    def sample_rate(self) -> int | None:
        """Of the samples, in Hz; None for pictures."""
        return self.model.media.sample_rate if self.model.media.kind == "audio" else None

    def export(self, folder: Path, *, name: str) -> None:
        """Write the model as it is now, ready for `codec.load`."""
        save_model(self.model, folder, name=name)

    def _run(self, signal: Tensor, mask: Tensor | None) -> Reconstruction:
        return self.model(signal, mask=mask)

    def _counting(self, name: str, result: Reconstruction, mask: Tensor | None) -> Tensor | None:
        """Where the loss `name` counts, `[b, *space]`: not in samples that use too few codebooks for it."""
        fewest = self.from_codebooks.get(name)
        if fewest is None:
            return mask
        depth = (result.levels[0].codes >= 0).flatten(2).any(2).sum(1)
        deep = (depth >= fewest).view(-1, *[1] * (result.signal.dim() - 2)).expand_as(result.signal[:, 0])
        return deep if mask is None else mask & deep

    def _balanced(self, losses: dict[str, Tensor], outputs: Tensor) -> dict[str, Tensor]:
        """The losses that pull at the decoder's `outputs`, without their gradients, and one that has them balanced."""
        assert self.balancer is not None
        pulling = {name: loss for name, loss in losses.items() if name in self.balancer.weights and loss.requires_grad}
        return {name: loss.detach() for name, loss in pulling.items()} | {BALANCE: self.balancer(pulling, outputs)}

    def _reconstruction(
        self, result: Reconstruction, signal: Tensor, mask: Tensor | None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The losses that compare with `signal`, and what its bits are if there is a likelihood of levels."""
        losses = {
            name: loss(result.signal, signal, self._counting(name, result, mask))
            for name, loss in self.reconstruction_losses.items()
        }
        likelihood = self.model.likelihood
        if likelihood is None or LIKELIHOOD not in self.weights:
            return losses, {}
        losses[LIKELIHOOD] = nll_per_dim(likelihood, result.outputs, signal, mask)
        if not likelihood.discrete:
            return losses, {}
        sizes = (grid.codebook_size for grid in self.model.levels)
        codes = ((level.codes, size) for level, size in zip(result.levels, sizes, strict=True))
        return losses, bits_per_dim(losses[LIKELIHOOD], codes, signal, mask)
