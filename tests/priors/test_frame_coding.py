"""Claims about frame priors of integers: any codes come back, everywhere, as the documented decoder reads them."""

from __future__ import annotations

import contextlib
import math
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.core.errors import UserError
from codec.core.grid import Grid
from codec.priors.base import Condition, Geometry
from codec.priors.frame_coding import FrameCodingConfig, FrameCodingPrior, IntegerLayers
from codec.priors.frame_export import frames_to_integers
from codec.priors.frame_tables import MAX_BIAS, MAX_BYTE, MAX_EMBEDDING_SHIFT, MAX_WEIGHT
from codec.priors.frames import FrameConfig
from tests.priors.contexts import random_codes
from tests.priors.frame_priors import (
    BOOKS,
    CASES,
    following_codes,
    frame_coding,
    frame_prior,
    geometry,
    trained_prior,
)
from tests.priors.test_integer import POLICIES
from tests.references import frame_prior as oracle

every_case = pytest.mark.parametrize("case", CASES)
coding = cache(frame_coding)


def some_codes(rows: int, books: int, frames: int, *, size: int = 9, seed: int = 0) -> np.ndarray:
    """Uniform codes, in which now and then a frame stays for a while."""
    codes = random_codes((rows, BOOKS, frames), size, seed=seed).numpy()
    stays = np.random.default_rng(seed).random(frames) < 0.3
    for t in np.flatnonzero(stays[1:]) + 1:
        codes[:, :, t] = codes[:, :, t - 1]
    return codes[:, :books]


@every_case
@given(
    st.integers(1, 3), st.integers(1, BOOKS), st.integers(1, 20), st.sampled_from([1, 2, 9, 300]), st.integers(0, 99)
)
@settings(max_examples=40, deadline=None)
def test_any_codes_come_back(case: str, rows: int, books: int, frames: int, size: int, seed: int) -> None:
    prior, codes = coding(case, size=size), some_codes(rows, books, frames, size=size, seed=seed)
    (back,) = prior.decode(prior.encode((codes,)), [codes.shape])
    np.testing.assert_array_equal(back, codes)


@every_case
@pytest.mark.parametrize("books", [1, BOOKS])
@pytest.mark.parametrize("rows", [1, 2])
def test_the_documented_decoder_reads_the_same_codes(case: str, rows: int, books: int) -> None:
    prior, codes = coding(case), some_codes(rows, books, 40)
    tensors = {key: tensor.tolist() for key, tensor in prior.state_dict().items()}
    found = oracle.decode(prior.encode((codes,)), tensors, prior.config.model_dump(mode="json"), codes.shape)
    assert found == codes.tolist()


@pytest.mark.parametrize("policy", POLICIES)
def test_no_policy_of_threads_or_precision_changes_a_byte(policy: str) -> None:
    codes = some_codes(1, BOOKS, 50)
    expected = coding("two layers").encode((codes,))
    with POLICIES[policy]():
        prior = FrameCodingPrior(coding("two layers").config, geometry())
        prior.load_state_dict(coding("two layers").state_dict())
        assert prior.encode((codes,)) == expected
        np.testing.assert_array_equal(prior.decode(expected, [codes.shape])[0], codes)
    np.testing.assert_array_equal(prior.to(torch.bfloat16).decode(expected, [codes.shape])[0], codes)


def test_strides_and_types_of_the_codes_do_not_matter() -> None:
    codes = some_codes(2, BOOKS, 30)
    expected = coding("one layer").encode((codes,))
    assert coding("one layer").encode((np.asfortranarray(codes.astype(np.uint16)),)) == expected


def test_a_row_knows_nothing_of_the_other_rows() -> None:
    """Beside two bytes for the end of each, rows cost what they cost alone."""
    codes = some_codes(3, BOOKS, 60)
    alone = [len(coding("two layers").encode((row[None],))) for row in codes]
    assert abs(len(coding("two layers").encode((codes,))) - sum(alone)) <= 2 * len(alone)


@every_case
def test_a_trained_prior_and_its_integers_agree_on_the_bits_within_one_percent(case: str) -> None:
    """Beside rounding, the flags of frames that repeat cost about a byte for each row."""
    prior, codes = trained_prior(case), following_codes(8, 200, seed=999)
    with torch.no_grad():
        bits = float(prior.nll(codes, Condition()).sum()) / math.log(2)
    assert bits < 0.8 * codes.numel() * math.log2(9), "it has learnt something"
    integers = frames_to_integers(prior)
    coded = sum(len(integers.encode((row[None].numpy(),))) for row in codes)
    assert coded * 8 == pytest.approx(bits, rel=0.01, abs=8 * 2 * len(codes))


@every_case
def test_what_stays_the_same_costs_next_to_nothing(case: str) -> None:
    """Ten seconds of silence, whatever the prior has learnt, are a few bytes after their first frame."""
    codes = np.repeat(some_codes(1, BOOKS, 1, size=300), 500, axis=2)
    assert len(coding(case, size=300).encode((codes,))) <= len(coding(case, size=300).encode((codes[:, :, :1],))) + 8


@every_case
@given(st.binary(max_size=60))
@settings(max_examples=50, deadline=None)
def test_any_bytes_give_codes_or_an_error(case: str, data: bytes) -> None:
    with contextlib.suppress(ValueError):
        (codes,) = coding(case).decode(data, [(2, BOOKS, 20)])
        assert codes.shape == (2, BOOKS, 20)
        assert 0 <= codes.min() <= codes.max() < 9


def test_the_largest_weights_there_can_be_pass_no_bound() -> None:
    """Sums as large as shapes allow still decode as the slow decoder reads them: nothing wraps around."""
    config = FrameConfig(embedding_dim=96, hidden=144, features=192, kernel=4, dilations=(1,))
    prior = FrameCodingPrior(FrameCodingConfig(frames=config, exponentials=5), geometry())
    generator = torch.Generator().manual_seed(0)
    for name, buffer in prior.named_buffers():
        sign = torch.randint(0, 2, buffer.shape, generator=generator) * 2 - 1
        if name.endswith("weight") or name == "embedding":
            buffer.copy_(sign * (MAX_BYTE if buffer.dtype == torch.int8 else MAX_WEIGHT))
            buffer[:, 0] = buffer[:, 0].abs()  # all of one sign
        elif name.endswith("bias"):
            buffer.copy_(sign * MAX_BIAS)
            buffer[:, 0] = MAX_BIAS
        elif name.endswith("shift"):
            buffer.fill_(MAX_EMBEDDING_SHIFT if name == "embedding_shift" else 0)
    prior.exponentials.copy_(torch.tensor([1 << 18, 1000, 100, 10, 1]))
    codes = some_codes(1, BOOKS, 6)
    tensors = {key: tensor.tolist() for key, tensor in prior.state_dict().items()}
    data = prior.encode((codes,))
    np.testing.assert_array_equal(prior.decode(data, [codes.shape])[0], codes)
    assert oracle.decode(data, tensors, prior.config.model_dump(mode="json"), codes.shape) == codes.tolist()


def test_layers_whose_sums_might_wrap_around_are_refused() -> None:
    with pytest.raises(UserError, match=r"2\*\*31"):
        IntegerLayers(1, 449, 1)
    with pytest.raises(UserError, match=r"2\*\*31"):
        IntegerLayers(1, 3620, 1, weights=torch.int8)
    large = Geometry(ndim=1, level=Grid(num_codebooks=1, codebook_size=1 << 14))
    with pytest.raises(UserError, match="at most"):
        FrameCodingPrior(FrameCodingConfig(frames=CASES["one layer"], exponentials=1), large)


@pytest.mark.parametrize("name", ["embedding", "past.weight", "further.1.weight", "first.bias", "head.weight"])
@pytest.mark.parametrize("value", [1e9, float("nan"), float("inf")])
def test_weights_that_do_not_fit_are_refused(name: str, value: float) -> None:
    prior = frame_prior("two layers")
    prior.get_parameter(name).data.view(-1)[0] = value
    with pytest.raises(UserError, match="too large"):
        frames_to_integers(prior)


def test_codes_outside_their_codebook_are_refused() -> None:
    with pytest.raises(ValueError, match="codes go from"):
        coding("one layer").encode((np.full((1, 1, 2), 9),))
