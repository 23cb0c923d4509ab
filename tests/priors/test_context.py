"""Claims about context priors: their order, what they see, and that steps say what a full pass says."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.core.errors import UserError
from codec.core.grid import Grid
from codec.priors.base import Condition, Geometry
from codec.priors.context import ContextConfig, ContextPrior
from codec.priors.context_heads import OrdinalHead
from codec.priors.context_order import ContextGroup, context_steps, phase_masks
from tests.priors.contexts import CASES, COARSER, context_prior, geometry, random_codes
from tests.references.integer_prior import phase_of

# Both sides are float32 and differ by the order of sums over some hundred terms; a scale multiplies that by up to e^4.
ROUNDING = 1e-3

every_case = pytest.mark.parametrize("case", CASES)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=2), st.integers(1, 6))
@settings(max_examples=60)
def test_the_phases_part_all_positions_by_lattices_that_get_finer(size: list[int], phases: int) -> None:
    masks = phase_masks(tuple(size), phases)
    for position in itertools.product(*map(range, size)):
        assert [bool(mask[position]) for mask in masks] == [
            phase == phase_of(position, phases) for phase in range(phases)
        ]


def test_five_phases_of_a_picture_are_a_grid_of_four_its_centres_and_so_on() -> None:
    i, j = torch.meshgrid(torch.arange(9), torch.arange(10), indexing="ij")
    expected = [
        (i % 4 == 0) & (j % 4 == 0),
        (i % 4 == 2) & (j % 4 == 2),
        (i % 2 == 0) & (j % 2 == 0) & (i % 4 != j % 4),
        (i % 2 == 1) & (j % 2 == 1),
        (i + j) % 2 == 1,
    ]
    for mask, wanted in zip(phase_masks((9, 10), 5), expected, strict=True):
        assert torch.equal(mask, wanted)


@given(st.lists(st.integers(1, 7), min_size=1, max_size=2), st.integers(1, 3))
def test_steps_hold_every_active_code_once(size: list[int], num_active: int) -> None:
    prior = context_prior("codes", geometry(len(size)))
    count = num_active * torch.Size(size).numel()
    order = torch.cat(list(prior.groups(tuple(size), num_active=num_active)))
    assert torch.equal(order.sort().values, torch.arange(count))


@every_case
@pytest.mark.parametrize("size", [(1,), (9,), (1, 1), (6, 1), (5, 7)])
@pytest.mark.parametrize("num_active", [1, 2, 3])
@pytest.mark.parametrize("coarser", [(), COARSER])
def test_steps_predict_what_one_full_pass_predicts(case, size, num_active, coarser) -> None:
    prior = context_prior(case, geometry(len(size), coarser=coarser))
    codes = random_codes((2, num_active, *size), 9)
    given_codes = tuple(
        random_codes((2, grid.num_codebooks, *extents), grid.codebook_size)
        for grid, extents in zip(coarser, prior.geometry.coarser_sizes(size), strict=True)
    )
    condition = Condition(coarser=given_codes)
    with torch.no_grad():
        whole = prior(codes, condition).flatten(2)
        state, known = prior.start(size, condition=condition, batch=2, num_active=num_active), None
        for group in prior.groups(size, num_active=num_active):
            logits, state = prior.step(state, known)
            known = codes.flatten(1)[:, group]
            torch.testing.assert_close(logits.movedim(-1, 1), whole[:, :, group], rtol=1e-4, atol=ROUNDING)


@every_case
def test_a_code_moves_the_predictions_of_later_steps_only(case) -> None:
    prior = context_prior(case, geometry())
    codes = random_codes((1, 3, 6, 7), 9)
    groups = list(prior.groups((6, 7)))
    with torch.no_grad():
        before = prior(codes, Condition()).flatten(2)
        for index, group in enumerate(groups):
            changed = codes.clone()
            changed.view(-1)[group] = (changed.view(-1)[group] + 4) % 9
            moved = (prior(changed, Condition()).flatten(2) - before).abs().amax((0, 1))
            assert float(moved[torch.cat(groups[: index + 1])].max()) == 0
            assert index + 1 == len(groups) or float(moved[groups[index + 1]].max()) > 0


@every_case
def test_nats_are_those_of_the_logits(case) -> None:
    prior, codes = context_prior(case, geometry()), random_codes((2, 3, 5, 4), 9)
    with torch.no_grad():
        logits = prior(codes, Condition())
        if case == "codes":
            logits = logits.log_softmax(1)
        expected = -logits.gather(1, codes.unsqueeze(1)).squeeze(1)
        torch.testing.assert_close(prior.nll(codes, Condition()), expected, rtol=1e-4, atol=ROUNDING)


@pytest.mark.parametrize("log_scale", [-4.0, -2.0, 0.0, 1.5])
def test_the_mass_of_all_digits_is_that_of_the_logistic_over_them(log_scale: float) -> None:
    head = OrdinalHead(Grid(num_codebooks=1, codebook_size=21), 1)
    outputs = torch.tensor([0.3, log_scale]).view(1, 2, 1, 1)
    scale = torch.tensor(log_scale).exp()
    inside = torch.sigmoid((10.5 - 0.3) / scale) - torch.sigmoid((-10.5 - 0.3) / scale)
    torch.testing.assert_close(head.logits(outputs).exp().sum(), inside, rtol=1e-5, atol=0)


def test_a_prior_that_expects_deviations_says_their_scales() -> None:
    prior = ContextPrior(CASES["digits"], geometry())
    deviations = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    prior.start_at(deviations)
    with torch.no_grad():
        for rate in range(2):
            log_scale = prior.predict(torch.zeros(1, 3, 4, 4), torch.tensor([rate]))[0, 1, :, 0, 0]
            torch.testing.assert_close(log_scale.exp() * (torch.pi / 3**0.5), deviations[rate], rtol=1e-4, atol=0)


def test_every_rate_and_the_numbers_below_it_share_biases() -> None:
    config = ContextConfig(groups=(ContextGroup(codebooks=8),), rates=(2, 5, 8))
    assert [config.rate_of(active) for active in range(1, 10)] == [0, 0, 1, 1, 1, 2, 2, 2, 2]


def test_every_parameter_is_trained() -> None:
    for case in CASES:
        prior = context_prior(case, geometry(coarser=COARSER))
        coarser = random_codes((2, 2, 3, 3), 4)
        prior.nll(random_codes((2, 3, 6, 5), 9), Condition(coarser=(coarser,))).mean().backward()
        assert [name for name, parameter in prior.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(
    ("config", "where", "words"),
    [
        (ContextConfig(groups=(ContextGroup(codebooks=2),)), geometry(), "2 codebooks; the level has 3"),
        (CASES["codes"], geometry().model_copy(update={"num_classes": 3}), "knows no classes"),
        (CASES["codes"], geometry(coarser=(Grid(num_codebooks=1, codebook_size=4, downsample_factor=6),)), "multiple"),
    ],
)
def test_a_config_that_does_not_fit_the_codes_is_refused(config: ContextConfig, where: Geometry, words: str) -> None:
    with pytest.raises(UserError, match=words):
        ContextPrior(config, where)


@pytest.mark.parametrize("wrong", [{"rates": (3, 2)}, {"rates": ()}, {"groups": ({"codebooks": 1, "kernel": 4},)}])
def test_an_impossible_config_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"ascending|at least 1|odd"):
        ContextConfig.model_validate({"groups": ({"codebooks": 1},), **wrong})


def test_steps_of_no_position_are_left_out() -> None:
    steps = context_steps((ContextGroup(codebooks=1, phases=5),), (1, 1), 1)
    assert [step.positions.tolist() for step in steps] == [[0]]
