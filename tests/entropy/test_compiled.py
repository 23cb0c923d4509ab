"""Claims about the range coder for compiled loops: exact, as short as can be, and no bytes crash it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.entropy.compiled import check, finish, look, new_decoder, new_encoder, put, skip
from codec.entropy.range_coder import InvalidCodeStreamError
from tests.references.frame_prior import ShareDecoder

SHARES = st.lists(st.integers(1, 1 << 20), min_size=1, max_size=6)
MESSAGES = st.lists(
    SHARES.flatmap(lambda shares: st.tuples(st.just(shares), st.integers(0, len(shares) - 1))), max_size=80
)


def encoded(message: list[tuple[list[int], int]]) -> bytes:
    coder, words = new_encoder(len(message))
    for shares, symbol in message:
        put(coder, words, sum(shares[:symbol]), shares[symbol], sum(shares))
    return finish(coder, words)


@given(MESSAGES)
@settings(deadline=None)
def test_symbols_come_back_and_the_slow_decoder_reads_the_same(message) -> None:
    data = encoded(message)
    slow = ShareDecoder(data)
    coder, words = new_decoder(data)
    for shares, symbol in message:
        assert slow.take(shares) == symbol
        start = sum(shares[:symbol])
        assert start <= look(coder, sum(shares)) < start + shares[symbol]
        skip(coder, words, start, shares[symbol], sum(shares))


@given(MESSAGES)
@settings(deadline=None)
def test_bytes_are_at_most_two_more_than_the_information(message) -> None:
    bits = sum(math.log2(sum(shares) / shares[symbol]) for shares, symbol in message)
    assert len(encoded(message)) <= bits / 8 + 2


@pytest.mark.parametrize("count", range(1, 40, 3))
def test_carries_run_through_many_words(count: int) -> None:
    """Symbols that leave open on which side of 1/2 the number is, until the last one says."""
    total, lower, width, bits = 1 << 16, 0, (1 << 64) - 1, 64
    message = []
    for _ in range(count):
        scale = width // total
        start = ((1 << bits - 1) - lower) // scale
        message.append(([start, 1, total - start - 1], 1))
        lower, width = lower + scale * start, scale
        if width < 1 << 32:
            lower, width, bits = lower << 32, width << 32, bits + 32
    above = ((1 << bits - 1) - lower) // (width // total) + 1
    for last in (0, 1):
        tried = [*message, ([above, total - above], last)]
        slow = ShareDecoder(encoded(tried))
        assert [slow.take(shares) for shares, _ in tried] == [symbol for _, symbol in tried]


def test_random_symbols_cost_what_they_must() -> None:
    rng = np.random.default_rng(0)
    message = [(rng.integers(1, 1 << 18, 30).tolist(), int(rng.integers(30))) for _ in range(5000)]
    bits = sum(math.log2(sum(shares) / shares[symbol]) for shares, symbol in message)
    assert len(encoded(message)) * 8 <= bits * 1.0005 + 16  # totals of 2**23 of a range of 2**32 to 2**64


def test_bytes_that_are_no_symbols_are_told() -> None:
    coder, _ = new_decoder(b"\xff" * 8)
    assert look(coder, 3) >= 3
    with pytest.raises(InvalidCodeStreamError):
        check(False)
