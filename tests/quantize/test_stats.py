"""Figures mean what their docstrings say."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from codec.quantize import stats


@given(size=st.integers(1, 50))
def test_perplexity_of_uniform_counts_is_their_number(size: int) -> None:
    torch.testing.assert_close(stats.perplexity(torch.full((size,), 3.0)), torch.tensor(float(size)))


def test_perplexity_is_the_exponential_of_the_entropy() -> None:
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    torch.testing.assert_close(stats.perplexity(torch.tensor([3.0, 1.0, 0.0])), torch.tensor(math.exp(entropy)))
    assert float(stats.perplexity(torch.zeros(4))) == 1


def test_usage_is_the_share_of_codes_seen() -> None:
    assert float(stats.usage(torch.tensor([3.0, 0.0, 1.0, 0.0]))) == 0.5


def test_a_code_leaves_running_usage_after_the_window() -> None:
    counts, decay, shares = torch.zeros(2), 0.9, []
    for step in range(15):
        counts = decay * counts + (1 - decay) * torch.tensor([1.0, 1.0 if step == 0 else 0.0])
        shares.append(float(stats.running_usage(counts, decay)))
    assert shares[:10] == [1.0] * 10 and shares[-2:] == [0.5] * 2


@given(counts=st.lists(st.floats(0, 1e6, width=32), min_size=2, max_size=40))
def test_integer_counts_are_positive_and_in_proportion(counts: list[float]) -> None:
    tensor = torch.tensor(counts)
    integers = stats.integer_counts(tensor)
    assert int(integers.min()) >= 1
    share = tensor.double() / tensor.double().sum() if sum(counts) else torch.full((len(counts),), 1 / len(counts))
    assert bool(((integers - share * (1 << 20)).abs() <= 1).all())
