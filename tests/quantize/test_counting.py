"""Codes are counted one by one or digit by digit, and both say what the codes were."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from codec.core.errors import UserError
from codec.quantize import counting, stats
from codec.quantize.counting import CodeTally

some_radices = st.lists(st.integers(2, 6), min_size=1, max_size=4).map(tuple)


def _codes(seed: int, size: int, *, rows: int = 50) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(size, (rows,), generator=generator), torch.rand(rows, generator=generator) < 0.6


def _by_digit(monkeypatch: pytest.MonkeyPatch, radices: tuple[int, ...]) -> CodeTally:
    """A counter that takes its codebook for too large to be counted code by code."""
    with monkeypatch.context() as patched:
        patched.setattr(counting, "MOST_COUNTED", 0)
        return CodeTally(radices)


@given(radices=some_radices, seed=st.integers(0, 10_000), masked=st.booleans())
def test_a_small_codebook_is_counted_code_by_code(radices: tuple[int, ...], seed: int, masked: bool) -> None:
    counter = CodeTally(radices)
    codes, valid = _codes(seed, counter.size)
    counts = counter.count(codes, valid if masked else None)
    seen = Counter((codes[valid] if masked else codes).tolist())
    assert counts.tolist() == [float(seen[code]) for code in range(counter.size)]
    assert float(counter.usage(counts)) == pytest.approx(len(seen) / counter.size)
    share = torch.tensor(list(seen.values()), dtype=torch.float64) / seen.total() if seen else torch.ones(1)
    assert float(counter.perplexity(counts)) == pytest.approx(float((-share * share.log()).sum().exp()), rel=1e-5)


@given(radices=some_radices, seed=st.integers(0, 10_000), masked=st.booleans())
def test_counts_by_digit_are_the_marginals_of_the_full_count(radices: tuple[int, ...], seed: int, masked: bool) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        counter = _by_digit(monkeypatch, radices)
    assert counter.num_counters == sum(radices)
    codes, valid = _codes(seed, counter.size)
    valid = valid if masked else None
    # The first digit counts least, so it is the last axis of the table of all counts.
    full = CodeTally((counter.size,)).count(codes, valid).view(*reversed(radices))
    axes = range(len(radices))
    marginals = [full.sum([other for other in axes if other != axis]) if len(radices) > 1 else full for axis in axes]
    counts = counter.count(codes, valid)
    assert torch.equal(counts, torch.cat(marginals[::-1]))
    # Independent digits are an upper bound.
    assert float(counter.usage(counts)) >= float(stats.usage(full.reshape(-1))) - 1e-6
    assert float(counter.perplexity(counts)) >= float(stats.perplexity(full.reshape(-1))) * (1 - 1e-5)


@settings(max_examples=30)
@given(radices=some_radices, seed=st.integers(0, 10_000))
def test_the_histogram_by_digit_is_the_product_of_its_digits(radices: tuple[int, ...], seed: int) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        counter = _by_digit(monkeypatch, radices)
    counts = counter.count(_codes(seed, counter.size)[0], None)
    digits = counts.double().split(list(radices))
    wanted = []
    for code in range(counter.size):
        share, left = 1.0, code
        for radix, part in zip(radices, digits, strict=True):
            share, left = share * float(part[left % radix] / part.sum()), left // radix
        wanted.append(max(1, round(share * (1 << 20))))
    found = counter.histogram(counts)
    assert found.dtype == torch.int64 and found.shape == (counter.size,)
    assert bool(((found - torch.tensor(wanted)).abs() <= 1).all())  # a half may round either way


@given(seed=st.integers(0, 10_000), size=st.integers(2, 30))
def test_the_histogram_of_counted_codes_is_in_proportion(seed: int, size: int) -> None:
    counter = CodeTally((size,))
    counts = counter.count(_codes(seed, size)[0], None)
    assert torch.equal(counter.histogram(counts), stats.integer_counts(counts))


def test_a_histogram_before_any_code_is_uniform() -> None:
    for radices in ((12,), (1 << 9, 1 << 9)):
        counter = CodeTally(radices)
        counts = counter.histogram(torch.zeros(counter.num_counters))
        assert counts.shape == (counter.size,) and len(counts.unique()) == 1 and int(counts[0]) >= 1


def test_only_large_codebooks_of_digits_are_counted_by_digit() -> None:
    assert CodeTally((2,) * 16).num_counters == 1 << 16
    assert CodeTally((2,) * 17).num_counters == 34
    assert CodeTally((1 << 17,)).num_counters == 1 << 17


def test_too_large_a_histogram_is_refused() -> None:
    assert len(CodeTally((2,) * 20).histogram(torch.ones(40))) == 1 << 20
    with pytest.raises(UserError, match=f"{1 << 21} codes"):
        CodeTally((2,) * 21).histogram(torch.ones(42))


@given(seed=st.integers(0, 10_000))
def test_codes_up_to_2_to_the_61_are_counted(seed: int) -> None:
    counter = CodeTally((2,) * 61)
    codes = torch.randint(1 << 61, (20,), generator=torch.Generator().manual_seed(seed))
    counts = counter.count(codes, None).view(61, 2)
    for bit in range(61):
        ones = sum(code >> bit & 1 for code in codes.tolist())
        assert counts[bit].tolist() == [20 - ones, ones]
    assert math.isfinite(float(counter.perplexity(counts.reshape(-1))))


def test_even_codes_have_full_usage_and_perplexity() -> None:
    for counter in (CodeTally((4, 3, 2)), CodeTally((8,) * 6)):
        counts = torch.ones(counter.num_counters)
        assert float(counter.usage(counts)) == 1
        assert float(counter.perplexity(counts)) == pytest.approx(counter.size, rel=1e-5)
        assert float(counter.running_usage(counts, 0.99)) == 1
