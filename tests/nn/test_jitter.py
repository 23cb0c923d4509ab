"""Time jitter: who stands in for whom, how often, and when nobody does."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from codec.nn.jitter import TimeJitter


def _places(batch, count):
    """Latents that say where they stand: `[b, 2, n]`, the row in the first channel and the place in the second."""
    row = torch.arange(batch)[:, None].expand(-1, count)
    return torch.stack((row, torch.arange(count).expand(batch, -1)), 1).float()


@given(st.integers(1, 4), st.integers(1, 30), st.floats(0.01, 0.99), st.integers(0, 9))
def test_only_neighbours_of_the_same_row_stand_in(batch, count, probability, seed):
    torch.manual_seed(seed)
    latents = _places(batch, count)
    found = TimeJitter(probability)(latents)
    assert torch.equal(found[:, 0], latents[:, 0])
    assert (found[:, 1] - latents[:, 1]).abs().max() <= 1


@pytest.mark.parametrize("probability", [0.12, 0.5])
def test_each_side_stands_in_half_as_often_as_asked(probability):
    torch.manual_seed(0)
    latents = _places(8, 10_000)
    step = (TimeJitter(probability)(latents) - latents)[:, 1]
    deviation = (probability / step.numel()) ** 0.5
    for side in (-1, 1):
        assert (step == side).float().mean() == pytest.approx(probability / 2, abs=4 * deviation)


def test_nobody_stands_in_outside_training_or_at_no_probability():
    latents = _places(2, 50)
    assert torch.equal(TimeJitter(0.9).eval()(latents), latents)
    assert torch.equal(TimeJitter(0.0)(latents), latents)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.integers(0, 9))
def test_padding_stands_in_for_nothing_real(lengths, seed):
    torch.manual_seed(seed)
    mask = torch.arange(12)[None] < torch.tensor(lengths)[:, None]
    found = TimeJitter(0.95)(_places(len(lengths), 12), mask)
    for row, length in enumerate(lengths):
        assert (found[row, 1, :length] < length).all()


def test_a_gradient_goes_to_the_one_that_stood_in():
    torch.manual_seed(0)
    latents = torch.randn(1, 3, 40, requires_grad=True)
    found = TimeJitter(0.5)(latents)
    found.sum().backward()
    uses = [(found[0] == latents[0, :, place, None]).all(0).sum() for place in range(40)]
    assert latents.grad is not None and latents.grad[0, 0].tolist() == [float(use) for use in uses]
