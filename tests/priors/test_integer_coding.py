"""Claims about codes under integer priors: any codes come back, everywhere, as the documented decoder reads them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.core.errors import UserError
from codec.priors.coding import ContextCodingConfig, ContextCodingPrior
from tests.priors.contexts import CASES, coding_prior, pyramid_prior, random_codes
from tests.references import integer_prior as oracle

every_case = pytest.mark.parametrize("case", CASES)
FILLS: dict[str, Callable[[tuple[int, ...], int, int], np.ndarray]] = {
    "uniform": lambda shape, size, seed: random_codes(shape, size, seed=seed).numpy(),
    "constant": lambda shape, size, seed: np.full(shape, seed % size),
    "extremes": lambda shape, size, seed: random_codes(shape, 2, seed=seed).numpy() * (size - 1),
}


@pytest.fixture(scope="module")
def priors() -> dict[tuple[str, int, int], ContextCodingPrior]:
    """By case, axes and codebook size; untrained, so that what is likely has nothing to do with what comes."""
    keys = [(case, ndim, size) for case in CASES for ndim in (1, 2) for size in (2, 9, 255)]
    return {key: coding_prior(key[0], key[1], size=key[2]) for key in keys}


@every_case
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=2),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([2, 9, 255]),
    st.sampled_from(sorted(FILLS)),
    st.integers(0, 2**20),
)
@settings(max_examples=40)
def test_any_codes_come_back(priors, case, space, rows, num_active, size, fill, seed) -> None:
    prior = priors[case, len(space), size]
    codes = FILLS[fill]((rows, num_active, *space), size, seed)
    (back,) = prior.decode(prior.encode((codes,)), [codes.shape])
    np.testing.assert_array_equal(back, codes)


@every_case
@pytest.mark.parametrize("ndim", [1, 2])
@given(st.integers(1, 4), st.integers(1, 2), st.integers(1, 3), st.integers(0, 2**20))
@settings(max_examples=8)
def test_levels_given_coarser_ones_come_back(case, ndim, extent, coarse_active, active, seed) -> None:
    prior = pyramid_prior(case, ndim)
    coarse = random_codes((2, coarse_active, *(extent,) * ndim), 4, seed=seed).numpy()
    fine = random_codes((2, active, *(2 * extent,) * ndim), 9, seed=seed).numpy()
    back = prior.decode(prior.encode((coarse, fine)), [coarse.shape, fine.shape])
    np.testing.assert_array_equal(back[0], coarse)
    np.testing.assert_array_equal(back[1], fine)


@every_case
def test_what_one_thread_encodes_two_decode(case: str) -> None:
    prior, codes = coding_prior(case), random_codes((1, 3, 12, 10), 9).numpy()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        data = prior.encode((codes,))
        torch.set_num_threads(2)
        with torch.autocast("cpu", torch.bfloat16):
            (back,) = prior.decode(data, [codes.shape])
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(back, codes)


@every_case
@pytest.mark.parametrize("num_active", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 2])
def test_the_documented_decoder_reads_the_same_codes(case: str, rows: int, num_active: int) -> None:
    prior = coding_prior(case)
    codes = random_codes((rows, num_active, 3, 5), 9).numpy()
    assert documented(prior, prior.encode((codes,)), [codes.shape]) == [codes.tolist()]


@pytest.mark.parametrize("ndim", [1, 2])
def test_the_documented_decoder_reads_levels_given_coarser_ones(ndim: int) -> None:
    prior = pyramid_prior("digits", ndim)
    codes = tuple(random_codes((1, q, *(n,) * ndim), size).numpy() for q, n, size in ((1, 2, 4), (3, 4, 9)))
    assert documented(prior, prior.encode(codes), [level.shape for level in codes]) == [
        level.tolist() for level in codes
    ]


def documented(prior: ContextCodingPrior, data: bytes, shapes: list[tuple[int, ...]]) -> list[list]:
    """Codes as nested lists `[rows][q][*space]`, by the slow decoder."""
    tensors = {key: tensor.tolist() for key, tensor in prior.state_dict().items()}
    levels = oracle.decode(
        data, tensors, prior.config.model_dump(mode="json"), prior.geometry.model_dump(mode="json"), shapes
    )
    result = []
    for level, shape in zip(levels, shapes, strict=True):
        codes = np.full(shape, -1)
        for row, books in enumerate(level):
            for book, places in enumerate(books):
                for place, code in places.items():
                    codes[(row, book, *place)] = code
        result.append(codes.tolist())
    return result


@every_case
@given(st.binary(max_size=60))
@settings(max_examples=30)
def test_any_bytes_give_codes_or_an_error(priors, case: str, data: bytes) -> None:
    with contextlib.suppress(ValueError):
        (codes,) = priors[case, 2, 9].decode(data, [(1, 3, 4, 5)])
        assert codes.shape == (1, 3, 4, 5)
        assert 0 <= codes.min() <= codes.max() < 9


def test_certain_codes_cost_next_to_nothing() -> None:
    prior = coding_prior("digits", size=255)
    level = prior.levels[0]
    for network in level.get_submodule("networks").children():
        for buffer in network.buffers():
            buffer.zero_()
        outputs = network.get_buffer("third.bias").shape[1] // 2
        network.get_buffer("third.bias")[:, outputs:] = -4096  # the narrowest scale
    codes = np.full((1, 3, 64, 64), 127)
    assert len(prior.encode((codes,))) <= 2
    codes[0, :, 5, 5] = 0, 254, 90  # far beyond any table
    data = prior.encode((codes,))
    assert len(data) < 60
    np.testing.assert_array_equal(prior.decode(data, [codes.shape])[0], codes)


def test_levels_and_codes_that_do_not_go_together_are_refused() -> None:
    prior = pyramid_prior("codes")
    with pytest.raises(UserError, match="1 levels, its codes have 2"):
        ContextCodingPrior(ContextCodingConfig(levels=prior.config.levels[:1]), prior.geometry)
