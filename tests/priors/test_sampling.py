"""Drawing from a prior: what the seed, the temperature and top-k do, level by level, and keeping the best."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from codec.core.errors import UserError
from codec.core.grid import Grid
from codec.priors.base import Condition, Geometry, NeuralPrior
from codec.priors.build import build_neural_prior
from codec.priors.hierarchy import sample_levels
from codec.priors.rejection import sample_recognised
from codec.priors.sampling import sample
from tests.priors.kinds import CASES, SIZES, condition_for, order_of, prior_of, random_codes, stepwise_logits

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, 1.5])


class Constant(NeuralPrior[None]):
    """The same five logits for every code."""

    def __init__(self):
        super().__init__(CASES["pixelcnn"], Geometry(ndim=1, level=Grid(num_codebooks=1, codebook_size=5)))

    def groups(self, size):
        return iter(torch.arange(size[0]).view(-1, 4))

    def start(self, size, *, condition, batch):
        self.batch = batch

    def step(self, state, codes):
        return LOGITS.expand(self.batch, 4, 5), None


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _shares(**options) -> Tensor:
    """How often each code is drawn, of 40,000."""
    codes = sample(Constant(), (400,), batch=100, generator=_seeded(), **options)
    return codes.flatten().bincount(minlength=5) / codes.numel()


# Five standard deviations of a share of 40,000 draws.
NOISE = 5 * math.sqrt(0.25 / 40_000)


def test_codes_are_drawn_as_likely_as_the_prior_says() -> None:
    torch.testing.assert_close(_shares(), LOGITS.softmax(0), rtol=0, atol=NOISE)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_divides_the_logits(temperature) -> None:
    torch.testing.assert_close(_shares(temperature=temperature), (LOGITS / temperature).softmax(0), rtol=0, atol=NOISE)


def test_top_k_draws_among_the_k_likeliest_in_their_proportions() -> None:
    expected = LOGITS.masked_fill(torch.tensor([False, False, True, True, False]), -math.inf).softmax(0)
    torch.testing.assert_close(_shares(top_k=3), expected, rtol=0, atol=NOISE)
    assert _shares(top_k=1)[0] == 1
    torch.testing.assert_close(_shares(top_k=99), _shares(), rtol=0, atol=NOISE)


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"temperature": -1.0}, {"top_k": 0}])
def test_impossible_options_are_refused(options) -> None:
    with pytest.raises(UserError, match="wanted above 0"):
        sample(Constant(), (4,), generator=_seeded(), **options)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ndim", SIZES)
def test_the_seed_alone_decides_and_the_global_random_state_is_left_alone(case, ndim) -> None:
    prior, size = prior_of(case, ndim), SIZES[ndim]
    condition = condition_for(prior, size)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = sample(prior, size, condition=condition, batch=2, generator=_seeded())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(sample(prior, size, condition=condition, batch=2, generator=_seeded()), one)
    assert not torch.equal(sample(prior, size, condition=condition, batch=2, generator=_seeded(1)), one)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ndim", SIZES)
def test_the_likeliest_codes_are_those_of_one_full_pass_per_code(case, ndim) -> None:
    """The slow sampler: a whole pass for every code, of which the one prediction is used."""
    prior, size = prior_of(case, ndim), SIZES[ndim]
    condition = condition_for(prior, size)
    slow = torch.zeros(2, prior.geometry.level.num_codebooks, *size, dtype=torch.int64)
    with torch.no_grad():
        for place in order_of(prior, size):
            slow.view(2, -1)[:, place] = prior(slow, condition).flatten(2)[:, :, place].argmax(1)
    fast = sample(prior, size, condition=condition, batch=2, top_k=1, generator=_seeded())
    assert torch.equal(fast, slow)


@pytest.mark.parametrize("case", CASES)
def test_steps_in_bfloat16_are_the_full_pass_in_bfloat16(case) -> None:
    prior = prior_of(case, 2).float()
    condition, codes = condition_for(prior, (4, 5)), random_codes((2, 2, 4, 5), 6)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        steps, whole = stepwise_logits(prior, codes, condition).float(), prior(codes, condition).float()
    # Eight bits of mantissa, through some ten layers: a few per cent of logits that spread over about 2.
    torch.testing.assert_close(steps, whole, rtol=0, atol=0.05 * float(whole.abs().max()))


def _pyramid() -> list[NeuralPrior]:
    grids = [Grid(num_codebooks=1, codebook_size=4, downsample_factor=8), Grid(num_codebooks=2, codebook_size=6)]
    geometries = [Geometry.of(grids, level, ndim=2, num_classes=3 if level else None) for level in range(2)]
    return [build_neural_prior(CASES["pixelcnn"], geometry).eval() for geometry in geometries]


def test_levels_are_sampled_coarse_to_fine_each_given_those_above() -> None:
    torch.manual_seed(0)
    top, bottom = _pyramid()
    labels, generator = torch.tensor([0, 2]), _seeded()
    levels = sample_levels([top, bottom], (9, 11), labels=labels, batch=2, generator=_seeded())
    assert [tuple(codes.shape) for codes in levels] == [(2, 1, 2, 2), (2, 2, 9, 11)]
    first = sample(top, (2, 2), batch=2, generator=generator)
    given = Condition(labels, (first,))
    assert torch.equal(levels[0], first)
    assert torch.equal(levels[1], sample(bottom, (9, 11), condition=given, batch=2, generator=generator))


def test_priors_that_are_no_pyramid_are_refused() -> None:
    top, bottom = _pyramid()
    with pytest.raises(UserError, match="coarse to fine"):
        sample_levels([bottom, top], (8, 8), generator=_seeded())
    bottom.model_fingerprint = "f" * 16
    with pytest.raises(UserError, match="one model"):
        sample_levels([top, bottom], (8, 8), generator=_seeded())


def test_the_samples_that_the_classifier_recognises_are_kept_best_first() -> None:
    serial = iter(range(100))
    drawn: list[int] = []

    def draw(labels: Tensor) -> tuple[Tensor, ...]:
        assert labels.tolist() == [1] * len(labels)
        drawn.append(len(labels))
        return (torch.tensor([next(serial) for _ in labels]).view(-1, 1, 1),)

    def classify(codes: tuple[Tensor, ...]) -> Tensor:
        certainty = -(codes[0].flatten() - 6).abs().float()  # serial number 6 is the best
        return torch.stack((torch.zeros_like(certainty), certainty), dim=1)

    kept = sample_recognised(draw, classify, label=1, keep=3, candidates=10, batch=4)
    assert drawn == [4, 4, 2]
    assert kept.codes[0].flatten()[0] == 6 and set(kept.codes[0].flatten().tolist()) == {5, 6, 7}
    expected = torch.tensor([0.0, -1.0, -1.0]).sigmoid()
    torch.testing.assert_close(kept.probabilities, expected)
    for keep in (0, 11):
        with pytest.raises(UserError, match="candidates"):
            sample_recognised(draw, classify, label=1, keep=keep, candidates=10, batch=4)
