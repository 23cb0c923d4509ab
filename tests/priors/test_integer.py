"""Claims about integer priors: the same numbers everywhere, close to the floats, exact where it is claimed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor

from codec.core.errors import UserError
from codec.core.grid import Grid
from codec.entropy import TOTAL
from codec.priors.base import Condition
from codec.priors.coding import ContextCodingPrior
from codec.priors.context_heads import OrdinalHead
from codec.priors.integer import IntegerPrior
from codec.priors.integer_export import to_integer
from codec.priors.integer_heads import PLACES, IntegerCategorical, OrdinalPrediction, logistic_tables
from codec.priors.integer_layers import MAX_HIDDEN, UNIT, IntegerLayer
from tests.priors.contexts import (
    CASES,
    COARSER,
    coding_prior,
    context_prior,
    geometry,
    random_codes,
    smooth_codes,
    trained_prior,
)

every_case = pytest.mark.parametrize("case", CASES)
SIZE = (6, 7)


def predictions(prior: ContextCodingPrior, codes: Tensor) -> Iterator[np.ndarray]:
    """All that each step says of `codes` `[b, q, *space]`, as integers `[b, n, *]`."""
    level, size = prior.levels[0], tuple(codes.shape[2:])
    assert isinstance(level, IntegerPrior)
    state, known = level.start(size, condition=Condition(), batch=len(codes), num_active=codes.shape[1]), None
    for group in level.groups(size, num_active=codes.shape[1]):
        found, state = level.step(state, known)
        known = codes.flatten(1)[:, group]
        both = isinstance(found, OrdinalPrediction)
        yield np.stack((found.nearest, found.table), -1) if both else found.frequencies


@contextmanager
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def float64_by_default() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def short_products() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


POLICIES = {
    "one thread": one_thread,
    "bfloat16 autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "float64 by default": float64_by_default,
    "short products": short_products,
}


@every_case
@pytest.mark.parametrize("policy", POLICIES)
def test_no_policy_of_threads_or_precision_changes_a_prediction(case: str, policy: str) -> None:
    prior, codes = coding_prior(case), random_codes((2, 3, *SIZE), 9)
    expected = list(predictions(prior, codes))
    with POLICIES[policy]():
        for found, wanted in zip(predictions(prior, codes), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


@every_case
def test_alone_or_in_a_batch_predictions_are_the_same(case: str) -> None:
    prior, codes = coding_prior(case), random_codes((3, 3, *SIZE), 9)
    together = list(predictions(prior, codes))
    for row in range(3):
        for alone, batch in zip(predictions(prior, codes[row : row + 1]), together, strict=True):
            np.testing.assert_array_equal(alone[0], batch[row])


@every_case
def test_the_memory_layout_of_the_codes_does_not_matter(case: str) -> None:
    prior, codes = coding_prior(case), random_codes((2, 3, *SIZE), 9)
    other = codes.contiguous(memory_format=torch.channels_last)
    for a, b in zip(predictions(prior, codes), predictions(prior, other), strict=True):
        np.testing.assert_array_equal(a, b)


@every_case
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_moving_the_prior_to_another_type_changes_nothing(case: str, dtype: torch.dtype) -> None:
    codes = random_codes((1, 3, *SIZE), 9)
    moved = coding_prior(case).to(dtype)
    for a, b in zip(predictions(moved, codes), predictions(coding_prior(case), codes), strict=True):
        np.testing.assert_array_equal(a, b)


@every_case
def test_a_code_moves_the_predictions_of_later_steps_only(case: str) -> None:
    prior, codes = coding_prior(case), random_codes((1, 3, *SIZE), 9)
    level = prior.levels[0]
    assert isinstance(level, IntegerPrior)
    before = list(predictions(prior, codes))
    for index, group in enumerate(level.groups(SIZE)):
        changed = codes.clone()
        changed.view(-1)[group] = (changed.view(-1)[group] + 4) % 9
        after = list(predictions(prior, changed))
        assert all((a == b).all() for a, b in zip(after[: index + 1], before[: index + 1], strict=True))
        assert index + 1 == len(before) or (after[index + 1] != before[index + 1]).any()


@every_case
def test_a_trained_prior_and_its_integers_agree_on_the_bits_within_one_percent(case: str) -> None:
    """Beside the means and scales, which are rounded, the coder itself adds up to two bytes."""
    prior = trained_prior(case)
    codes = smooth_codes((8, 3, 24, 24), 9, seed=999)
    with torch.no_grad():
        bits = float(prior.nll(codes, Condition()).sum()) / math.log(2)
    flat = codes.numel() * math.log2(9)
    assert bits < 0.6 * flat, "it has learnt something"
    coded = len(to_integer(prior).encode((codes.numpy(),)))
    assert coded * 8 == pytest.approx(bits, rel=0.01, abs=16)


@pytest.mark.parametrize("size", [2, 3, 9, 64, 255])
def test_the_tables_of_every_scale_add_up_exactly(size: int) -> None:
    reach, frequencies = logistic_tables(size)
    rows = np.split(frequencies.numpy(), np.cumsum(np.repeat([2 * one + 2 for one in reach], PLACES))[:-1])
    assert len(rows) == PLACES * len(reach)
    assert all(row.sum() == TOTAL and row.min() >= 1 for row in rows)


def test_a_table_has_the_masses_of_its_logistic() -> None:
    reach, frequencies = logistic_tables(255)
    level, place = 25, 11
    start = sum(PLACES * (2 * one + 2) for one in reach[:level]) + place * (2 * reach[level] + 2)
    table = frequencies[start : start + 2 * reach[level] + 1].numpy() / TOTAL
    head = OrdinalHead(Grid(num_codebooks=1, codebook_size=1), 1)
    log_scale = -4 + (level + 0.5) * 160 / 1024
    outputs = torch.tensor([place / PLACES - 0.5, log_scale]).view(1, 2, 1, 1).expand(-1, -1, 1, len(table))
    values = torch.arange(-reach[level], reach[level] + 1.0).view(1, 1, -1)
    masses = torch.exp(-head.nll_of_values(outputs, values)).numpy().ravel()
    np.testing.assert_allclose(table, masses, rtol=0, atol=len(table) / TOTAL)  # every symbol gets at least one


@pytest.mark.parametrize("size", [2, 9, 1000])
def test_frequencies_from_logits_add_up_exactly_and_are_those_of_a_softmax(size: int) -> None:
    head = IntegerCategorical(Grid(num_codebooks=1, codebook_size=size), 1, ())
    prior = coding_prior("codes").levels[0]
    assert isinstance(prior, IntegerPrior) and isinstance(prior.head, IntegerCategorical)
    head.exponentials.copy_(prior.head.exponentials)
    logits = (torch.randn(3, size, 1, 50, generator=torch.Generator().manual_seed(0)) * 3 * UNIT).long()
    logits[0, :, 0, 0] = 7  # all alike
    logits[0, 0, 0, 1] = 1 << 40  # certain
    frequencies = head.predict(logits.numpy()).frequencies
    assert (frequencies.sum(-1) == TOTAL).all() and frequencies.min() >= 1
    masses = (logits.double() / UNIT).softmax(1)[:, :, 0].movedim(1, -1).numpy()
    # A step of the table of exponentials is 1/64, and every code gets at least one.
    np.testing.assert_allclose(frequencies / TOTAL, masses, rtol=1 / 50, atol=2 * size / TOTAL)


def test_what_a_layer_computes_is_what_python_integers_give() -> None:
    """At the largest inputs, weights and biases there can be, sums are still exact."""
    layer = IntegerLayer(40, 3, num_rates=1, bound=MAX_HIDDEN)
    generator = torch.Generator().manual_seed(0)
    layer.weight.copy_(torch.randint(-(1 << 15), 1 << 15, (3, 40), generator=generator))
    layer.weight[0] = (1 << 15) - 1
    layer.bias.copy_(torch.tensor([[2**31 - 1, -(2**31), 12345]]))
    layer.shift.copy_(torch.tensor([0, 30, 7]))
    inputs = torch.full((1, 40, 2), float(MAX_HIDDEN), dtype=torch.float64)
    inputs[..., 1] = torch.randint(-MAX_HIDDEN, MAX_HIDDEN, (40,), generator=generator).double()
    found = layer(inputs, 0)[0].long().tolist()
    for row in range(3):
        for column in range(2):
            weights, seen = layer.weight[row].tolist(), inputs[0, :, column].long().tolist()
            total = sum(w * x for w, x in zip(weights, seen, strict=True)) + int(layer.bias[0, row])
            assert found[row][column] == total >> int(layer.shift[row])


def test_a_layer_is_refused_where_the_sum_of_two_of_its_outputs_might_be_rounded() -> None:
    IntegerLayer(1 << 12, 1, num_rates=1, bound=MAX_HIDDEN)
    with pytest.raises(UserError, match=r"2\*\*53"):
        IntegerLayer(1 << 13, 1, num_rates=1, bound=MAX_HIDDEN)


@pytest.mark.parametrize("name", ["networks.0.first.weight", "networks.2.third.bias", "head.embedding.table.weight"])
@pytest.mark.parametrize("value", [1e9, float("nan"), float("inf")])
def test_weights_that_do_not_fit_are_refused(name: str, value: float) -> None:
    prior = context_prior("codes", geometry())
    prior.get_parameter(name).data.view(-1)[0] = value
    with pytest.raises(UserError, match="too large"):
        to_integer(prior)


def test_priors_of_other_levels_are_refused() -> None:
    lower = context_prior("codes", geometry(coarser=COARSER))
    with pytest.raises(UserError, match="coarse to fine"):
        to_integer(lower)
    upper, other = context_prior("codes", geometry()), context_prior("codes", geometry())
    with pytest.raises(UserError, match="coarse to fine"):
        to_integer(upper, other)
