"""Claims about integer probability tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.entropy import TOTAL, FrequencyTable, normalise_counts

COUNTS = st.lists(st.integers(0, 2**62), min_size=1, max_size=300)


@given(COUNTS)
def test_frequencies_are_positive_and_add_up_to_the_power_of_two(counts: list[int]) -> None:
    frequencies = normalise_counts(np.array(counts, dtype=np.int64))
    assert frequencies.sum() == TOTAL
    assert frequencies.min() >= 1


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=50))
def test_a_larger_count_never_gets_a_smaller_frequency(counts: list[int]) -> None:
    frequencies = normalise_counts(np.array(counts))
    order = np.argsort(counts, kind="stable")
    assert (np.diff(frequencies[order]) >= -1).all()  # 1: equal counts may differ by one left-over unit


@given(st.lists(st.integers(0, 2**38), min_size=2, max_size=64))
def test_frequencies_equal_exact_fractions(counts: list[int]) -> None:
    total, free = sum(counts), TOTAL - len(counts)
    if total == 0:
        return
    exact = [divmod(count * free, total) for count in counts]
    left_over = free - sum(share for share, _ in exact)
    winners = set(sorted(range(len(counts)), key=lambda index: (-exact[index][1], index))[:left_over])
    assert normalise_counts(np.array(counts)).tolist() == [
        1 + share + (index in winners) for index, (share, _) in enumerate(exact)
    ]


def test_the_table_of_fixed_counts_never_changes() -> None:
    assert normalise_counts(np.array([1, 2, 3, 10, 0, 7])).tolist() == [
        182362,
        364723,
        547083,
        1823609,
        1,
        1276526,
    ]


def test_every_number_given_to_the_coder_is_exact() -> None:
    rng = np.random.default_rng(0)
    frequencies = FrequencyTable.from_counts(rng.integers(0, 10**9, 1024)).frequencies
    probabilities = frequencies.astype(np.float64) / TOTAL
    assert (probabilities * TOTAL == frequencies).all()
    sums = [0.0, *np.cumsum(probabilities).tolist()]
    exact = [0, *np.cumsum(frequencies).tolist()]
    scale = float((1 << 24) - 1024)
    assert sums[-1] == 1.0
    assert all(int(a * scale) == (b * ((1 << 24) - 1024)) // TOTAL for a, b in zip(sums, exact, strict=True))


@pytest.mark.parametrize("counts", [[], [[1, 2]], [0.5, 0.5], [1, -1]])
def test_what_is_not_a_row_of_counts_is_refused(counts: list) -> None:
    with pytest.raises(ValueError, match="count"):
        normalise_counts(np.array(counts))
