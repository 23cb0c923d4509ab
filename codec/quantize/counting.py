"""How codes are counted: each by itself, or digit by digit where there are too many to count."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from codec.core.errors import UserError
from codec.quantize import stats

MOST_COUNTED = 1 << 16  # codes of a codebook made of digits that are still counted each by itself
MOST_LISTED = 1 << 20  # codes that a histogram may have


class CodeTally:
    """Counts codes of a codebook of `radices[0] * radices[1] * ...` entries, and reads the counts.

    A codebook made of digits (a scalar or binary quantizer's) of more than `MOST_COUNTED` codes is counted per digit,
    in kilobytes however many codes there are. Usage and perplexity are then the products of the digits': what
    independent digits would have, an upper bound.
    """

    def __init__(self, radices: tuple[int, ...]) -> None:
        self.size = math.prod(radices)
        self.radices = radices if self.size > MOST_COUNTED else (self.size,)

    @property
    def num_counters(self) -> int:
        """Length of the vectors of counts, C."""
        return sum(self.radices)

    def count(self, codes: Tensor, valid: Tensor | None) -> Tensor:
        """Float32 counts `[C]` of `codes` `[N]`, those not `valid` `[N]` left out."""
        weights = torch.ones_like(codes, dtype=torch.float32) if valid is None else valid.float()
        digits, first, left = [], 0, codes
        for radix in self.radices:
            digits.append(left % radix + first)
            first, left = first + radix, left // radix
        counts = weights.new_zeros(self.num_counters)
        return counts.index_add_(0, torch.cat(digits), weights.repeat(len(digits)))

    def usage(self, counts: Tensor) -> Tensor:
        """Share (0-d) of the codes that were seen."""
        return self._product([stats.usage(part) for part in self._split(counts)])

    def running_usage(self, counts: Tensor, decay: float) -> Tensor:
        """Share (0-d) of the codes seen within the window of moving-average `counts` `[C]`."""
        return self._product([stats.running_usage(part, decay) for part in self._split(counts)])

    def perplexity(self, counts: Tensor) -> Tensor:
        """Number (0-d) of equally likely codes that would be as diverse."""
        return stats.perplexity(counts, parts=len(self.radices))

    def histogram(self, counts: Tensor) -> Tensor:
        """Integer counts `[K]`, each at least 1, from moving-average `counts` `[C]`.

        Raises:
            UserError: there are more codes than a histogram may have.
        """
        if self.size > MOST_LISTED:
            raise UserError(
                f"a codebook of {self.size} codes has no histogram: split it into smaller ones with kind 'grouped'"
            )
        joint = torch.ones(1, dtype=torch.float64, device=counts.device)
        for part in self._split(counts):
            joint = (part.double()[:, None] * joint).reshape(-1)  # the first digit counts least
        return stats.integer_counts(joint)

    def _split(self, counts: Tensor) -> tuple[Tensor, ...]:
        return counts.split(list(self.radices))

    def _product(self, figures: list[Tensor]) -> Tensor:
        return torch.stack(figures).prod()
