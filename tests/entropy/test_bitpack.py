"""Claims about plain bit packing."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.entropy import bits_per_symbol, pack_bits, packed_size, unpack_bits

RUNS = st.lists(
    st.integers(1, 5000).flatmap(
        lambda size: st.tuples(st.lists(st.integers(0, size - 1), max_size=40), st.just(size))
    ),
    max_size=4,
)


@given(RUNS)
def test_unpack_gives_back_what_was_packed(message: list[tuple[list[int], int]]) -> None:
    data = pack_bits([(np.array(symbols, dtype=np.int64), size) for symbols, size in message])
    shapes = [(len(symbols), size) for symbols, size in message]
    assert len(data) == packed_size(shapes)
    assert [row.tolist() for row in unpack_bits(data, shapes)] == [symbols for symbols, _ in message]


@given(st.binary(max_size=30), st.integers(0, 20), st.integers(1, 100))
def test_any_bytes_give_valid_symbols_or_an_error(data: bytes, count: int, size: int) -> None:
    with contextlib.suppress(ValueError):
        (row,) = unpack_bits(data, [(count, size)])
        assert row.size == count
        assert not count or row.max() < size


def test_bits_are_the_ceiling_of_the_logarithm() -> None:
    assert [bits_per_symbol(size) for size in (1, 2, 3, 512, 513)] == [0, 1, 2, 9, 10]


def test_the_first_symbol_is_in_the_high_bits() -> None:
    assert pack_bits([(np.array([5, 1]), 8)]) == bytes([0b10100100])


def test_a_symbol_outside_its_size_is_refused() -> None:
    with pytest.raises(ValueError, match="wanted 0 to 7"):
        pack_bits([(np.array([8]), 8)])
