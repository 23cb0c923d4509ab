"""Codes made of digits: one scalar per channel, rounded, and no codebook to keep."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from codec.quantize.rows import RowConfig, RowQuantizer


class DigitQuantizer(RowQuantizer):
    """Each channel of the codebook's space gives a digit below its radix; the first channel's counts least.

    Subclasses map rows to digits and back. Nothing of the size of the codebook is ever held.
    """

    def __init__(self, config: RowConfig, dim: int, *, radices: tuple[int, ...]) -> None:
        super().__init__(config, dim, width=len(radices), radices=radices)
        self.radices: Tensor
        self.places: Tensor
        self.register_buffer("radices", torch.tensor(radices), persistent=False)
        places = [math.prod(radices[:channel]) for channel in range(len(radices))]
        self.register_buffer("places", torch.tensor(places), persistent=False)

    @abstractmethod
    def _digits(self, rows: Tensor) -> Tensor:
        """Whole numbers `[..., D]` (float32) of `rows` `[..., D]`, each from 0 to its radix - 1."""

    @abstractmethod
    def _values(self, digits: Tensor) -> Tensor:
        """Float32 `[..., D]` that int64 `digits` `[..., D]` stand for."""

    def _find(self, rows: Tensor) -> Tensor:
        digits = self._digits(rows).nan_to_num().long()
        return (digits * self.places).sum(-1)

    def _vectors(self, codes: Tensor) -> Tensor:
        return self._values(codes[..., None] // self.places % self.radices)
