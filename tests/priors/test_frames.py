"""Claims about frame priors with floats: what they see, and that steps are the whole."""

from __future__ import annotations

import math

import pytest
import torch

from codec.core.errors import UserError
from codec.priors.base import Condition
from codec.priors.frames import FramePrior
from tests.priors.contexts import COARSER
from tests.priors.contexts import geometry as picture_geometry
from tests.priors.frame_priors import BOOKS, CASES, following_codes, frame_prior, geometry, trained_prior
from tests.priors.kinds import order_of, random_codes, stepwise_logits

ROUNDING = 1e-10  # both sides in float64, sums of some ten terms
every_case = pytest.mark.parametrize("case", CASES)


@every_case
def test_steps_predict_what_one_full_pass_predicts(case: str) -> None:
    prior, codes = frame_prior(case).double(), random_codes((2, BOOKS, 11), 9)
    with torch.no_grad():
        torch.testing.assert_close(
            stepwise_logits(prior, codes, Condition()), prior(codes, Condition()), rtol=0, atol=ROUNDING
        )


@every_case
def test_a_code_moves_what_comes_after_it_as_far_as_it_reaches_and_nothing_else(case: str) -> None:
    prior, codes = frame_prior(case, scale=0.4).double(), random_codes((1, BOOKS, 20), 9)
    order, farthest = order_of(prior, (20,)), 0
    for place in range(len(order)):
        changed = codes.clone()
        changed.view(-1)[order[place]] = (changed.view(-1)[order[place]] + 1) % 9
        with torch.no_grad():
            moved = (prior(codes, Condition()) - prior(changed, Condition())).abs().amax(1).flatten()[order] > 0
        frame = place // BOOKS
        assert not moved[: place + 1].any()
        assert moved[place + 1 : (frame + 1) * BOOKS].all(), "the rest of its frame sees it"
        farthest = max(farthest, int(moved.nonzero().max()) // BOOKS - frame if moved.any() else 0)
    assert farthest == CASES[case].reach


@every_case
def test_fewer_codebooks_are_predicted_as_if_there_were_no_more(case: str) -> None:
    prior, codes = frame_prior(case).double(), random_codes((2, BOOKS, 7), 9)
    fewer = FramePrior(CASES[case], geometry()).eval().double()
    fewer.load_state_dict(prior.state_dict())
    with torch.no_grad():
        fewer.embedding[2:] = 0  # then the third says nothing
        torch.testing.assert_close(prior(codes[:, :2], Condition()), fewer(codes, Condition())[:, :, :2])


def test_what_is_expected_of_counts_is_their_entropy() -> None:
    prior, codes = FramePrior(CASES["two layers"], geometry()), random_codes((4, BOOKS, 500), 3)
    counts = torch.stack([torch.bincount(codes[:, book].flatten(), minlength=9) for book in range(BOOKS)])
    prior.start_at(counts, torch.randn(BOOKS, 9, 4))
    prior.head.weight.data.zero_()
    with torch.no_grad():
        nats = float(prior.eval().nll(codes, Condition()).mean())
    assert nats == pytest.approx(math.log(3), rel=0.005)  # 2000 draws, and half a count for what never came


@every_case
def test_codes_that_are_not_there_cost_nothing_and_say_nothing(case: str) -> None:
    prior, codes = frame_prior(case).double(), random_codes((3, BOOKS, 7), 9)
    codes[0, 2], codes[1, 1:] = -1, -1
    with torch.no_grad():
        nats = prior.nll(codes, Condition())
        for row, active in enumerate((2, 1, 3)):
            alone = prior.nll(codes[row : row + 1, :active], Condition())
            torch.testing.assert_close(nats[row, :active], alone[0])
            assert not nats[row, active:].any()
        assert prior.nll(codes[:2], Condition()).shape == (2, 2, 7), "what no row has is left out"


def test_every_parameter_has_a_gradient_whichever_codebooks_are_there() -> None:
    prior, codes = frame_prior("two layers").train(), random_codes((1, BOOKS, 9), 9)
    codes[:, 1:] = -1
    prior.nll(codes, Condition()).mean().backward()
    assert [name for name, p in prior.named_parameters() if p.grad is None] == []


def test_a_pattern_is_learnt() -> None:
    prior = trained_prior("two layers")
    with torch.no_grad():
        nats = prior.nll(following_codes(16, 64, seed=999), Condition())[:, :, 4:].mean((0, 2))
    assert nats[:2].max() < math.log(3) * 1.15, "three ways to go on"
    assert nats.max() < math.log(9) * 0.8


def test_other_codes_than_one_level_over_time_are_refused() -> None:
    for where in (picture_geometry(2), picture_geometry(1, coarser=COARSER)):
        with pytest.raises(UserError, match="over time"):
            FramePrior(CASES["one layer"], where)
