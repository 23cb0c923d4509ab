"""LFQ and BSQ: one bit per channel, its sign, with losses on the entropy of 2^d codes that are never listed."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from codec.quantize.estimators import straight_through
from codec.quantize.penalties import commitment, diversity, mean_over_real
from codec.quantize.rows import Assignment, RowConfig
from codec.quantize.scalar import DigitQuantizer


class BinaryConfig(RowConfig):
    """A code of bits.

    Attributes:
        codebook_bits: channels, one bit each: 2^bits codes. Other widths of latents are projected.
        entropy_temperature: of the soft assignment to codes, in squared distances.
        group_bits: bits whose joint distribution the `diversity` loss knows; between groups of so many it takes them
            as independent.
    """

    codebook_bits: int = Field(default=9, ge=1, le=61)
    entropy_temperature: float = Field(default=1.0, gt=0.0)
    group_bits: int = Field(default=8, ge=1, le=16)


class LFQConfig(BinaryConfig):
    """Lookup-free quantization."""

    kind: Literal["lfq"] = "lfq"


class BSQConfig(BinaryConfig):
    """Binary spherical quantization."""

    kind: Literal["bsq"] = "bsq"


class BinaryQuantizer(DigitQuantizer):
    """The sign of every channel, times `level`, straight through.

    The soft assignment p(c | z) = softmax(-|z - c|^2 / temperature) over all 2^d codes c is a product of d independent
    bits, p(+) = sigmoid(4 level z / temperature), so that nothing of size 2^d is needed:

    - `entropy` loss: mean over real positions of H(p(. | z)), exactly the sum of the bits' entropies, in nats;
    - `diversity` loss: log K - H(mean of p), exact within groups of `group_bits` bits, which are taken as independent
      of one another (Zhao et al. 2024, section 3.2): a lower bound of the true figure;
    - `commitment` loss: mean of (z - sg(q))^2.

    The entropies are in nats and large against a reconstruction error: weigh them 0.01 to 0.1, the commitment 0.25.
    """

    def __init__(self, config: BinaryConfig, dim: int, *, level: float) -> None:
        super().__init__(config, dim, radices=(2,) * config.codebook_bits)
        self.level = level
        self.sharpness = 4 * level / config.entropy_temperature
        self.group_bits = config.group_bits

    @property
    def loss_names(self) -> tuple[str, ...]:
        return ("commitment", "entropy", "diversity")

    def _digits(self, rows: Tensor) -> Tensor:
        return (rows > 0).float()

    def _values(self, digits: Tensor) -> Tensor:
        return (2 * digits - 1) * self.level

    def _emit(self, assignment: Assignment) -> tuple[Tensor, dict[str, Tensor]]:
        logits = self.sharpness * assignment.anchors
        plus, minus = F.logsigmoid(logits), F.logsigmoid(-logits)
        entropy = -(plus.exp() * plus + minus.exp() * minus).sum(1)
        shares = torch.stack((minus.exp(), plus.exp()), -1)
        if assignment.valid is not None:
            shares = torch.where(assignment.valid[:, None, None], shares, 0)
        losses = {
            "commitment": commitment(assignment),
            "entropy": mean_over_real(entropy, assignment),
            "diversity": diversity([_joint(group) for group in shares.split(self.group_bits, 1)], assignment),
        }
        return straight_through(assignment.inputs, assignment.vectors), losses


class LFQQuantizer(BinaryQuantizer):
    """Lookup-free quantization: q = sign(z) (Yu et al. 2024, section 3.1).

    As stage i of a residual stack the levels are 2^-i: a binary expansion.
    """

    def __init__(self, config: LFQConfig, dim: int, *, stage: int = 0) -> None:
        super().__init__(config, dim, level=2.0**-stage)


class BSQQuantizer(BinaryQuantizer):
    """Binary spherical quantization: q = sign(u) / sqrt(d) of u = z / |z|, on the unit sphere (Zhao et al. 2024).

    `distortion` and `commitment` compare q with u.
    """

    def __init__(self, config: BSQConfig, dim: int) -> None:
        super().__init__(config, dim, level=config.codebook_bits**-0.5)

    def _condition(self, rows: Tensor) -> Tensor:
        return to_sphere(rows)


def to_sphere(rows: Tensor) -> Tensor:
    """`rows` `[..., D]` scaled to length 1; zero stays zero."""
    return F.normalize(rows, dim=-1)


def _joint(bits: Tensor) -> Tensor:
    """Sum over rows of the joint distribution `[2^g]` of independent bits, from their `[N, g, 2]`.

    It is the product of two halves' tables, `[2^(g/2), N] @ [N, 2^(g/2)]`: no N x 2^g.
    """
    half = bits.shape[1] // 2
    return (_table(bits[:, :half]).t() @ _table(bits[:, half:])).reshape(-1)


def _table(bits: Tensor) -> Tensor:
    """Probabilities `[N, 2^g]` of every combination of the bits `[N, g, 2]`."""
    table = bits.new_ones(len(bits), 1)
    for bit in bits.unbind(1):
        table = (table[:, :, None] * bit[:, None, :]).flatten(1)
    return table
