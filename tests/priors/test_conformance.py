"""What holds for every neural prior, whatever its kind and however many axes its codes have."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.core.errors import UserError
from codec.priors.base import Condition, NeuralPrior
from codec.priors.build import KINDS, build_neural_prior
from codec.priors.conditioning import Conditioner
from tests.priors.kinds import (
    BATCH,
    CASES,
    SIZES,
    condition_for,
    geometry,
    order_of,
    prior_of,
    random_codes,
    stepwise_logits,
)

# Both sides are computed in float64; they differ by the order of sums over at most some hundred terms.
ROUNDING = 1e-10
MOVED = 1e-6  # far above rounding, far below what a code that is seen does to an untrained prior's logits

every_case = pytest.mark.parametrize("case", CASES)
every_ndim = pytest.mark.parametrize("ndim", SIZES)


@pytest.fixture(scope="module")
def priors() -> dict[tuple[str, int], NeuralPrior]:
    return {(case, ndim): prior_of(case, ndim) for case in CASES for ndim in SIZES}


def _codes(ndim: int, *, seed: int = 0):
    return random_codes((BATCH, 2, *SIZES[ndim]), 6, seed=seed)


def test_every_kind_is_registered_under_its_own_name() -> None:
    for kind, config in KINDS.items():
        assert config.model_fields["kind"].default == kind


@every_case
@every_ndim
def test_groups_hold_every_code_once(case, ndim, priors) -> None:
    order = order_of(priors[case, ndim], SIZES[ndim])
    assert torch.equal(order.sort().values, torch.arange(_codes(ndim)[0].numel()))


@every_case
@every_ndim
@settings(max_examples=12)
@given(data=st.data())
def test_changing_a_code_changes_no_probability_before_it(case, ndim, priors, data) -> None:
    prior, codes = priors[case, ndim], _codes(ndim)
    order = order_of(prior, SIZES[ndim])
    place = data.draw(st.integers(0, len(order) - 1), label="place in the order")
    changed = codes.clone()
    changed.view(BATCH, -1)[:, order[place]] = (changed.view(BATCH, -1)[:, order[place]] + 1) % 6
    condition = condition_for(prior, SIZES[ndim])
    with torch.no_grad():
        before, after = (prior(x, condition).flatten(2)[:, :, order] for x in (codes, changed))
    moved = (before - after).abs().amax((0, 1))
    assert float(moved[: place + 1].max()) <= ROUNDING
    assert place + 1 == len(order) or float(moved[place + 1]) > MOVED, "the next code sees the one before it"


@every_case
@every_ndim
def test_every_code_is_seen_by_all_that_come_after(case, ndim, priors) -> None:
    """There is no blind spot: what attention is not there for, the layers of these cases reach."""
    prior, codes, condition = priors[case, ndim], _codes(ndim), condition_for(priors[case, ndim], SIZES[ndim])
    order = order_of(prior, SIZES[ndim])
    for place in range(len(order)):
        changed = codes.clone()
        changed.view(BATCH, -1)[:, order[place]] = (changed.view(BATCH, -1)[:, order[place]] + 1) % 6
        with torch.no_grad():
            moved = (prior(codes, condition) - prior(changed, condition)).flatten(2).abs().amax((0, 1))
        assert bool((moved[order[place + 1 :]] > ROUNDING).all())


@every_case
@every_ndim
def test_steps_predict_what_one_full_pass_predicts(case, ndim, priors) -> None:
    prior, codes, condition = priors[case, ndim], _codes(ndim), condition_for(priors[case, ndim], SIZES[ndim])
    with torch.no_grad():
        torch.testing.assert_close(
            stepwise_logits(prior, codes, condition), prior(codes, condition), rtol=0, atol=ROUNDING
        )


@every_case
@pytest.mark.parametrize("num_codebooks", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 1), (3, 7)])
def test_steps_equal_the_full_pass_at_odd_sizes(case, num_codebooks, size) -> None:
    prior = prior_of(case, 2, num_codebooks=num_codebooks)
    codes, condition = random_codes((BATCH, num_codebooks, *size), 6), condition_for(prior, size)
    with torch.no_grad():
        torch.testing.assert_close(
            stepwise_logits(prior, codes, condition), prior(codes, condition), rtol=0, atol=ROUNDING
        )


@every_case
@every_ndim
def test_a_state_belongs_to_one_sequence_only(case, ndim, priors) -> None:
    """Two sequences taken a step each in turn are those taken one after the other: nothing is kept in the prior."""
    prior, size = priors[case, ndim], SIZES[ndim]
    condition = condition_for(prior, size)
    sequences = [_codes(ndim, seed=seed) for seed in (1, 2)]
    alone = [stepwise_logits(prior, codes, condition).flatten(2) for codes in sequences]
    states = [prior.start(size, condition=condition, batch=BATCH) for _ in sequences]
    before: list = [None, None]
    for group in prior.groups(size):
        for index, codes in enumerate(sequences):
            logits, states[index] = prior.step(states[index], before[index])
            torch.testing.assert_close(logits.transpose(1, 2), alone[index][:, :, group], rtol=0, atol=ROUNDING)
            before[index] = codes.flatten(1)[:, group]


@every_case
@every_ndim
def test_the_class_matters(case, ndim, priors) -> None:
    prior, codes, condition = priors[case, ndim], _codes(ndim), condition_for(priors[case, ndim], SIZES[ndim])
    assert condition.labels is not None
    other = Condition((condition.labels + 1) % 3, condition.coarser)
    with torch.no_grad():
        moved = (prior(codes, condition) - prior(codes, other)).abs().flatten(2).amax((0, 1))
    assert bool((moved > MOVED).all()), "at every position"


@every_case
@every_ndim
@pytest.mark.parametrize("level", [0, 1])
def test_the_codes_of_every_coarser_level_matter(case, ndim, level, priors) -> None:
    prior, codes, condition = priors[case, ndim], _codes(ndim), condition_for(priors[case, ndim], SIZES[ndim])
    other = list(condition.coarser)
    size = prior.geometry.coarser[level].codebook_size
    other[level] = (other[level] + 1) % size
    with torch.no_grad():
        moved = (prior(codes, condition) - prior(codes, Condition(condition.labels, tuple(other)))).abs()
    assert bool((moved.flatten(2).amax((0, 1)) > MOVED).all()), "at every position"


@every_case
def test_every_parameter_is_trained(case) -> None:
    """A parameter without a gradient would stop distributed training."""
    for num_codebooks in (1, 2):
        prior = build_neural_prior(CASES[case], geometry(2, num_codebooks=num_codebooks))
        codes = random_codes((BATCH, num_codebooks, 4, 5), 6)
        prior(codes, condition_for(prior, (4, 5))).square().sum().backward()
        assert [name for name, p in prior.named_parameters() if p.grad is None] == []


@every_case
def test_a_condition_that_is_not_what_the_prior_wants_is_refused(case, priors) -> None:
    prior, condition = priors[case, 2], condition_for(priors[case, 2], (4, 5))
    assert condition.labels is not None
    for wrong in (
        Condition(None, condition.coarser),
        Condition(condition.labels[:1], condition.coarser),
        Condition(condition.labels, condition.coarser[:1]),
        Condition(condition.labels, (condition.coarser[0], condition.coarser[1][..., :-1])),
    ):
        with pytest.raises(UserError, match=r"wants|wanted"):
            prior.start((4, 5), condition=wrong, batch=BATCH)
    with pytest.raises(UserError, match="axes"):
        prior.start((4,), condition=condition, batch=BATCH)


def test_levels_that_do_not_nest_are_refused() -> None:
    levels = geometry(2).model_dump()
    levels["coarser"] = (levels["coarser"][1] | {"downsample_factor": 3},)
    with pytest.raises(UserError, match="multiple"):
        Conditioner(type(geometry(2)).model_validate(levels), 8, num_units=0)
