"""Gumbel-softmax: a code is drawn by logits, and the draw is relaxed while training (Jang et al. 2017)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from codec.quantize.base import is_recomputing
from codec.quantize.chunks import in_chunks
from codec.quantize.lookup import best_match
from codec.quantize.penalties import mean_over_real
from codec.quantize.rows import Assignment, RowConfig, RowQuantizer
from codec.quantize.snapshot import snapshot
from codec.quantize.stats import BatchSums


class GumbelConfig(RowConfig):
    """Relaxed draws whose temperature falls along a cosine, as in DALL-E's dVAE (Ramesh et al. 2021, appendix A.2).

    Attributes:
        codebook_size: entries, K.
        codebook_dim: width D of the entries; None: as wide as the latents, no projection.
        temperature: tau at the first training step.
        final_temperature: tau after `anneal_steps` steps, and from then on.
    """

    kind: Literal["gumbel"] = "gumbel"
    codebook_size: int = Field(default=512, ge=2)
    codebook_dim: int | None = Field(default=None, ge=1)
    temperature: float = Field(default=1.0, gt=0.0)
    final_temperature: float = Field(default=1 / 16, gt=0.0)
    anneal_steps: int = Field(default=150_000, ge=1)


class GumbelQuantizer(RowQuantizer):
    """Logits over K codes; training hands on softmax((logits + gumbel noise) / tau) E, otherwise the likeliest entry.

    In eval no gradient of the output reaches the latents, only that of `kl`. `codes` are the likeliest ones, in
    training too: what `encode` gives (in a residual stack, later stages see what the relaxed draws left). `distortion`
    compares latents with the entries of these codes; all quantizers report it, and this one does not minimise it.

    The `kl` loss is the mean over real positions of KL(softmax(logits) || uniform) = log K - H, in nats (Ramesh et al.
    2021, equation 1). N x K probabilities are computed chunk by chunk, and again backward.

    State: `step`, the training batches seen, which decides tau.
    """

    def __init__(self, config: GumbelConfig, dim: int) -> None:
        super().__init__(config, dim, width=config.codebook_dim or dim, radices=(config.codebook_size,))
        self.temperatures = (config.temperature, config.final_temperature)
        self.anneal_steps = config.anneal_steps
        self.logits = nn.Linear(self.width, config.codebook_size)
        self.codebook = nn.Parameter(torch.randn(config.codebook_size, self.width))
        self.step: Tensor
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self._last_temperature = self.temperature()  # of the last training forward: a checkpoint computes it again

    @property
    def loss_names(self) -> tuple[str, ...]:
        return ("kl",)

    def temperature(self) -> Tensor:
        """tau (0-d) of the next training step."""
        start, end = self.temperatures
        progress = (snapshot(self.step) / self.anneal_steps).clamp(0, 1)
        return end + 0.5 * (start - end) * (1 + torch.cos(math.pi * progress))

    def _find(self, rows: Tensor) -> Tensor:
        return best_match(rows, self.logits.weight, self.logits.bias)

    def _vectors(self, codes: Tensor) -> Tensor:
        return F.embedding(codes, self.codebook).float()

    def _emit(self, assignment: Assignment) -> tuple[Tensor, dict[str, Tensor]]:
        weight, bias = self.logits.weight.float(), self.logits.bias.float()
        kl = in_chunks(_divergence, assignment.anchors, weight, bias)
        outputs = assignment.vectors
        if self.training:
            if not is_recomputing():
                self._last_temperature = self.temperature()
            args = (weight, bias, self.codebook.float(), self._last_temperature)
            outputs = in_chunks(_draw, assignment.inputs, *args, random=True)
        return outputs, {"kl": mean_over_real(kl, assignment)}

    def _update(self, assignments: Sequence[Assignment], sums: BatchSums, counts: Tensor, gate: Tensor) -> Tensor:
        restarts = super()._update(assignments, sums, counts, gate)
        self.step.add_(gate.long())
        return restarts


def _draw(rows: Tensor, weight: Tensor, bias: Tensor, codebook: Tensor, temperature: Tensor) -> Tensor:
    logits = torch.addmm(bias, rows, weight.t())
    noise = torch.rand_like(logits).log_().neg_().log_().neg_()  # of a draw that is 0, -infinity: never chosen
    return ((logits + noise) / temperature).softmax(1) @ codebook


def _divergence(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """KL (in nats) to the uniform distribution of each row, `[N]`."""
    log_p = torch.addmm(bias, rows, weight.t()).log_softmax(1)
    return (log_p.exp() * log_p).sum(1) + math.log(len(weight))
