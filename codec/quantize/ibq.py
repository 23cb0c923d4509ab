"""IBQ: index backpropagation quantization, gradients to every entry through the softmax (Shi et al. 2024)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from codec.quantize.chunks import in_chunks
from codec.quantize.lookup import best_match
from codec.quantize.penalties import codebook_error, commitment, entropies, mean_over_real
from codec.quantize.rows import Assignment, RowConfig, RowQuantizer


class IBQConfig(RowConfig):
    """Index backpropagation.

    Attributes:
        codebook_size: entries, K.
        codebook_dim: width D of the entries; None: as wide as the latents, no projection.
        entropy_temperature: with it there are losses `entropy` and `diversity` of the softmax at that temperature.
    """

    kind: Literal["ibq"] = "ibq"
    codebook_size: int = Field(default=512, ge=2)
    codebook_dim: int | None = Field(default=None, ge=1)
    entropy_temperature: float | None = Field(default=None, gt=0.0)


class IBQQuantizer(RowQuantizer):
    """The entry of largest product, with the gradient of the softmax over all (Shi et al. 2024, section 3.2).

    With p = softmax(z Cᵀ) and the one-hot o of its largest, the output is (o + p - sg(p)) C: the entry itself forward,
    while backward the gradient reaches z and, through p, every entry. (In that product the C beside p is held fixed,
    as its factor p - sg(p) is zero.)

    Losses: `commitment` and `codebook` of the hard entry, weighed 1 and beta in the paper, and `index`, the mean of
    (output - z)^2 with all its gradients, weighed 1 (its "double quantization loss"). N x K probabilities are computed
    chunk by chunk, and again backward.
    """

    def __init__(self, config: IBQConfig, dim: int) -> None:
        super().__init__(config, dim, width=config.codebook_dim or dim, radices=(config.codebook_size,))
        self.entropy_temperature = config.entropy_temperature
        self.codebook = nn.Parameter(torch.randn(config.codebook_size, self.width) * self.width**-0.5)

    @property
    def loss_names(self) -> tuple[str, ...]:
        return ("commitment", "codebook", "index", *(("entropy", "diversity") if self.entropy_temperature else ()))

    def _find(self, rows: Tensor) -> Tensor:
        return best_match(rows, self.codebook)

    def _vectors(self, codes: Tensor) -> Tensor:
        return F.embedding(codes, self.codebook).float()

    def _emit(self, assignment: Assignment) -> tuple[Tensor, dict[str, Tensor]]:
        table, temperature = self.codebook.float(), self.entropy_temperature
        outputs = _propagate(assignment.inputs, assignment.vectors, table)
        losses = {
            "commitment": commitment(assignment),
            "codebook": codebook_error(assignment),
            "index": mean_over_real((outputs - assignment.anchors).square(), assignment),
        }
        if temperature:
            losses |= entropies(assignment.anchors, table, None, assignment, temperature=temperature)
        return outputs, losses


def _propagate(rows: Tensor, vectors: Tensor, table: Tensor) -> Tensor:
    """`vectors` `[N, D]`, with the gradient of softmax(rows tableᵀ) sg(table) besides their own."""
    if not torch.is_grad_enabled():
        return vectors
    soft = in_chunks(_expectation, rows, table)
    return vectors + (soft - soft.detach())


def _expectation(rows: Tensor, table: Tensor) -> Tensor:
    return (rows @ table.t()).softmax(1) @ table.detach()
