"""Integer probability tables: the same on every machine, because no float takes part in making them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import constriction
import numpy as np
import numpy.typing as npt

_coders: Any = cast(Any, constriction).stream  # a compiled module: type checkers cannot see into it
TOTAL_BITS = 22
TOTAL = 1 << TOTAL_BITS  # the frequencies of a table add up to exactly this
MAX_CODEBOOK_SIZE = 1 << 20
_MAX_COUNT = 1 << 40  # counts are scaled down to this first, so that count * TOTAL fits in 63 bits


def normalise_counts(counts: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Scale integer counts to frequencies that are all >= 1 and add up to exactly `TOTAL`.

    Every symbol gets 1; the rest is shared in proportion to the counts by the largest-remainder rule, ties
    going to the lowest symbol. Only integer arithmetic is used, so every machine gets the same table.

    Args:
        counts: [K] non-negative integers, K from 1 to 2**20; a symbol never seen may have count 0.

    Returns:
        [K] int64 frequencies.

    Raises:
        ValueError: counts are not a non-empty row of non-negative integers, or there are too many of them.
    """
    row = np.asarray(counts)
    if row.ndim != 1 or not 1 <= row.size <= MAX_CODEBOOK_SIZE or not np.issubdtype(row.dtype, np.integer):
        raise ValueError(
            f"counts are {row.dtype} {list(row.shape)}; wanted one row of 1 to {MAX_CODEBOOK_SIZE} integers"
        )
    if row.min() < 0:
        raise ValueError(f"counts hold {row.min()}; a count cannot be negative")
    row = row.astype(np.int64)
    total = sum(row.tolist())  # Python integers: no overflow
    shift = max(0, total.bit_length() - _MAX_COUNT.bit_length())
    row = row >> shift
    total = int(row.sum())
    if total == 0:
        row, total = np.ones_like(row), row.size
    free = TOTAL - row.size
    shares, remainders = np.divmod(row * free, total)
    left_over = free - int(shares.sum())  # < K
    order = np.argsort(-remainders, kind="stable")
    shares[order[:left_over]] += 1
    return shares + 1


@dataclass(frozen=True, eq=False)
class FrequencyTable:
    """A static distribution over symbols 0 .. K - 1, given by `frequencies` [K] that add up to `TOTAL`."""

    frequencies: npt.NDArray[np.int64]

    @classmethod
    def from_counts(cls, counts: npt.ArrayLike) -> FrequencyTable:
        """The table that fits integer `counts` [K]; see `normalise_counts`."""
        return cls(normalise_counts(counts))

    @property
    def size(self) -> int:
        """K, the number of symbols."""
        return int(self.frequencies.size)

    @cached_property
    def model(self) -> Any:
        """The table for constriction's coders (K >= 2).

        Each probability is an integer over 2**22, exactly a float64; so are all partial sums, and the
        products with the coder's scale (24 bits) need 46 bits of the 53: rounding happens nowhere on the way
        to its integers.
        """
        return _coders.model.Categorical(self.frequencies.astype(np.float64) / TOTAL, perfect=False)
