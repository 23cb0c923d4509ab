"""From the integer outputs of a step to the distributions that the entropy coder works with, and through it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from codec.core.grid import Grid
from codec.entropy import TOTAL, FrequencyTable, SymbolDecoder, SymbolEncoder, TableFamily
from codec.priors.integer_layers import UNIT, IntegerEmbedding

Integers = npt.NDArray[np.int64]
PLACES = 16  # of a mean between two digits
LEVEL_STEP = 160  # of the log-scale, in units of 1 / UNIT
MIN_LOG_SCALE = -4 * UNIT
EXPONENTIAL_STEP, EXPONENTIAL_STEPS = UNIT // 64, 1024
"""A table of exp(-x), 1024 steps of 1/64."""


class IntegerOrdinal(nn.Module):
    """Digits under a family of tables, chosen by the log-scale and by where between two digits the mean lies.

    A table is about the distance from the digit nearest to the mean, -reach to reach, and one symbol more for digits
    farther away. Those follow after the others, all alike likely.

    Args:
        reach: of the tables of each level of the log-scale.
    """

    num_planes, num_outputs = 1, 2

    def __init__(self, grid: Grid, width: int, reach: tuple[int, ...]):
        super().__init__()
        self.codebook_size, self.reach = grid.codebook_size, np.array(reach)
        self.bound = (grid.codebook_size - 1) * UNIT // 2
        sizes = np.repeat(2 * self.reach + 2, PLACES)
        self.frequencies: Tensor
        self.register_buffer("frequencies", torch.zeros(int(sizes.sum()), dtype=torch.int32))
        self._sizes, self._family = sizes, None

    def planes(self, codes: Tensor, first: int) -> Tensor:
        """What is seen of `codes` `[b, q, m]` of the codebooks from `first` on: `[b, q * num_planes, m]`."""
        return (2 * codes - (self.codebook_size - 1)).double() * (UNIT // 2)

    def predict(self, outputs: Integers) -> OrdinalPrediction:
        """The distributions that `outputs` `[b, 2, q, m]` say."""
        mean, log_scale = outputs[:, 0], outputs[:, 1]
        units = (mean + UNIT // (2 * PLACES)) // (UNIT // PLACES) + (self.codebook_size - 1) * PLACES // 2
        nearest, place = np.divmod(units + PLACES // 2, PLACES)
        level = np.clip((log_scale - MIN_LOG_SCALE) // LEVEL_STEP, 0, len(self.reach) - 1)
        return OrdinalPrediction(self, nearest.reshape(len(mean), -1), (level * PLACES + place).reshape(len(mean), -1))

    @property
    def family(self) -> TableFamily:
        """The tables: for each level one for each place of the mean."""
        if self._family is None:
            self._family = TableFamily(np.split(self.frequencies.cpu().numpy(), np.cumsum(self._sizes)[:-1]))
        return self._family


@dataclass(frozen=True)
class OrdinalPrediction:
    """Of each code the digit `nearest` to its mean, and its `table`, both `[b, n]`."""

    head: IntegerOrdinal
    nearest: Integers
    table: Integers

    def put(self, encoder: SymbolEncoder, codes: Integers) -> None:
        """Code `codes` `[b, n]`."""
        reach = self._reach
        symbols = np.where(abs(codes - self.nearest) <= reach, codes - self.nearest + reach, 2 * reach + 1)
        self.head.family.put(encoder, symbols.ravel(), self.table.ravel())
        encoder.put(codes[symbols > 2 * reach], self._flat)

    def take(self, decoder: SymbolDecoder) -> Integers:
        """Decode `[b, n]` codes.

        Raises:
            ValueError: no codes have these bytes.
        """
        symbols = self.head.family.take(decoder, self.table.ravel()).reshape(self.table.shape)
        codes, far = symbols - self._reach + self.nearest, symbols > 2 * self._reach
        codes[far] = decoder.take(int(far.sum()), self._flat)
        if codes.size and not 0 <= codes.min() <= codes.max() < self.head.codebook_size:
            raise ValueError("its codes lie outside their codebook")
        return codes

    @property
    def _reach(self) -> Integers:
        return self.head.reach[self.table // PLACES]

    @property
    def _flat(self) -> FrequencyTable:
        return FrequencyTable.from_counts(np.ones(self.head.codebook_size, dtype=np.int64))


class IntegerCategorical(nn.Module):
    """Codes under frequencies in proportion to the exponentials of their logits, from a table of integers."""

    def __init__(self, grid: Grid, width: int, reach: tuple[int, ...]):
        super().__init__()
        self.num_planes, self.num_outputs, self.bound = width, grid.codebook_size, IntegerEmbedding.bound
        self.embedding = IntegerEmbedding(grid, width)
        self.exponentials: Tensor
        self.register_buffer("exponentials", torch.zeros(EXPONENTIAL_STEPS, dtype=torch.int32))

    def planes(self, codes: Tensor, first: int) -> Tensor:
        """What is seen of `codes` `[b, q, m]` of the codebooks from `first` on: `[b, q * num_planes, m]`."""
        return self.embedding(codes, first=first)

    def predict(self, outputs: Integers) -> CategoricalPrediction:
        """The distributions that logits `outputs` `[b, K, q, m]` say."""
        logits = np.moveaxis(outputs, 1, -1)
        below = (logits.max(-1, keepdims=True) - logits) // EXPONENTIAL_STEP
        weights = self.exponentials.cpu().numpy().astype(np.int64)[np.minimum(below, EXPONENTIAL_STEPS - 1)]
        free = TOTAL - self.num_outputs
        frequencies = 1 + weights * free // weights.sum(-1, keepdims=True)
        missing = TOTAL - frequencies.sum(-1, keepdims=True)
        likeliest = logits.argmax(-1, keepdims=True)  # the first of equals
        np.put_along_axis(frequencies, likeliest, np.take_along_axis(frequencies, likeliest, -1) + missing, -1)
        return CategoricalPrediction(frequencies.reshape(len(outputs), -1, self.num_outputs))


@dataclass(frozen=True)
class CategoricalPrediction:
    """Frequencies `[b, n, K]` of each code, which add up to `TOTAL`."""

    frequencies: Integers

    def put(self, encoder: SymbolEncoder, codes: Integers) -> None:
        """Code `codes` `[b, n]`."""
        encoder.put_each(codes.ravel(), self._rows)

    def take(self, decoder: SymbolDecoder) -> Integers:
        """Decode `[b, n]` codes; errors as `SymbolDecoder`."""
        return decoder.take_each(self._rows).reshape(self.frequencies.shape[:2])

    @property
    def _rows(self) -> Integers:
        return self.frequencies.reshape(-1, self.frequencies.shape[-1])


HEADS: dict[str, type[IntegerOrdinal] | type[IntegerCategorical]] = {
    "ordinal": IntegerOrdinal,
    "categorical": IntegerCategorical,
}


def exponential_table() -> Tensor:
    """The table of a new prior, `[EXPONENTIAL_STEPS]` int32; floats make it once, then it is stored."""
    steps = [round(math.exp(-step * EXPONENTIAL_STEP / UNIT) * (1 << 24)) for step in range(EXPONENTIAL_STEPS)]
    return torch.tensor(steps, dtype=torch.int32)


def logistic_tables(codebook_size: int) -> tuple[tuple[int, ...], Tensor]:
    """The reach of each level, and the frequencies of all tables one after the other, int32, as `exponential_table`."""
    widest = math.log(max(codebook_size, 2) / 2)
    num_levels = min(64, 1 + int((widest * UNIT - MIN_LOG_SCALE) // LEVEL_STEP))
    reach, tables = [], []
    for level in range(num_levels):
        scale = math.exp((MIN_LOG_SCALE + (level + 0.5) * LEVEL_STEP) / UNIT)
        reach.append(min(codebook_size - 1, math.ceil(10 * scale) + 1))
        tables += [_logistic(scale, place / PLACES - 0.5, reach[-1]) for place in range(PLACES)]
    return tuple(reach), torch.from_numpy(np.concatenate(tables).astype(np.int32))


def _logistic(scale: float, mean: float, reach: int) -> Integers:
    """Frequencies of -reach to reach and of all the rest."""
    borders = (np.arange(-reach, reach + 2) - 0.5 - mean) / scale
    below, above = np.exp(-np.logaddexp(0.0, -borders)), np.exp(-np.logaddexp(0.0, borders))
    inside = np.where(borders[:-1] > 0, above[:-1] - above[1:], below[1:] - below[:-1])
    masses = np.append(inside, below[0] + above[-1])
    return FrequencyTable.from_counts(np.rint(masses * (1 << 40)).astype(np.int64)).frequencies
