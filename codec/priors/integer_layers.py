"""Layers in exact integer arithmetic: the same numbers on every machine, in whatever order they are summed.

The numbers are held in float64. A product of matrices of integers is exact as long as no sum passes 2**53, in any order
of summation, with fused products or without; that no sum can is checked from the shapes. Everything else here is
rounding down and taking the larger, which are exact as well. There is no convolution: a library may compute it by a
transform that rounds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from codec.core.errors import UserError
from codec.core.grid import Grid

FRACTION_BITS = 10
UNIT = 1 << FRACTION_BITS  # what stands for 1.0 in every activation
MAX_HIDDEN = (1 << 24) - 1
MAX_WEIGHT, MAX_BIAS, MAX_SHIFT = (1 << 15) - 1, (1 << 31) - 1, 30
_EXACT = 1 << 53


class IntegerLayer(nn.Module):
    """`floor((weight x + bias) / 2**shift)`: 16-bit weights, 32-bit biases for every rate, a shift for every output.

    Args:
        bound: no input is larger than this in magnitude.

    Raises:
        UserError: sums might be rounded.
    """

    def __init__(self, inputs: int, outputs: int, *, num_rates: int, bound: int):
        super().__init__()
        if 2 * (inputs * (MAX_WEIGHT + 1) * bound + MAX_BIAS + 1) >= _EXACT:  # twice: a network adds two outputs
            raise UserError(f"sums of {inputs} products up to {bound} x 2**15 may pass 2**53: take a smaller kernel")
        self.weight: Tensor
        self.bias: Tensor
        self.shift: Tensor
        self.register_buffer("weight", torch.zeros(outputs, inputs, dtype=torch.int16))
        self.register_buffer("bias", torch.zeros(num_rates, outputs, dtype=torch.int32))
        self.register_buffer("shift", torch.zeros(outputs, dtype=torch.uint8))

    def forward(self, inputs: Tensor, rate: int) -> Tensor:
        """Outputs `[b, outputs, m]` of `inputs` `[b, inputs, m]`: integers in float64."""
        sums = self.weight.double() @ inputs + self.bias[rate].double()[:, None]
        return torch.floor(sums / torch.bitwise_left_shift(1, self.shift.long()).double()[:, None])


class IntegerNetwork(nn.Module):
    """The integers of a `StepNetwork`: hidden units and the linear path in one layer, then two more layers."""

    def __init__(self, inputs: int, outputs: int, hidden: int, *, num_rates: int, bound: int):
        super().__init__()
        self.num_hidden = hidden
        self.first = IntegerLayer(inputs, hidden + outputs, num_rates=num_rates, bound=bound)
        self.second = IntegerLayer(hidden, hidden, num_rates=num_rates, bound=MAX_HIDDEN)
        self.third = IntegerLayer(hidden, outputs, num_rates=num_rates, bound=MAX_HIDDEN)

    def forward(self, inputs: Tensor, rate: int) -> Tensor:
        """Outputs `[b, outputs, m]` in units of 1 / `UNIT`, of inputs `[b, inputs, m]` in the same."""
        first = self.first(inputs, rate)
        hidden, linear = first[:, : self.num_hidden], first[:, self.num_hidden :]
        hidden = self.second(hidden.clamp(0, MAX_HIDDEN), rate)
        return linear + self.third(hidden.clamp(0, MAX_HIDDEN), rate)


class IntegerEmbedding(nn.Module):
    """A vector of 16-bit integers for every code of every codebook of a level."""

    bound = MAX_WEIGHT + 1

    def __init__(self, grid: Grid, width: int):
        super().__init__()
        self.table: Tensor
        self.register_buffer("table", torch.zeros(grid.num_codebooks, grid.codebook_size, width, dtype=torch.int16))

    def forward(self, codes: Tensor, *, first: int = 0) -> Tensor:
        """Planes `[b, q * width, m]` in float64 of `codes` `[b, q, m]` of the codebooks from `first` on."""
        books = torch.arange(first, first + codes.shape[1], device=codes.device)[:, None]
        return self.table[books, codes].movedim(-1, 2).flatten(1, 2).double()
