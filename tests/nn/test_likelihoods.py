"""Likelihoods are distributions: they sum to one, agree with plain integration, and survive extreme outputs."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from codec.nn.likelihoods import (
    CategoricalConfig,
    LogisticMixtureConfig,
    LogitLaplaceConfig,
    build_likelihood,
)

LEVELS = torch.arange(256) / 127.5 - 1
CONFIGS = [CategoricalConfig(), LogisticMixtureConfig(num_components=3), LogitLaplaceConfig()]


def _outputs(likelihood, *shape: int, seed: int = 0, scale: float = 1.5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(shape[0], likelihood.num_outputs, *shape[1:], generator=generator)


@pytest.mark.parametrize("config", CONFIGS[:2], ids=lambda config: config.kind)
@given(seed=st.integers(0, 1000), scale=st.sampled_from([0.1, 1.0, 5.0, 40.0]))
def test_probabilities_of_all_levels_sum_to_one(config, seed, scale):
    likelihood = build_likelihood(config, channels=1)
    outputs = _outputs(likelihood, 1, 4, seed=seed, scale=scale)
    nll = likelihood.nll(outputs.expand(256, -1, -1), LEVELS.view(256, 1, 1).expand(-1, 1, 4))
    torch.testing.assert_close((-nll).exp().sum(0), torch.ones(1, 4), rtol=0, atol=1e-4)  # 256 float32 terms


@pytest.mark.parametrize("config", CONFIGS[:2], ids=lambda config: config.kind)
def test_probabilities_of_all_pixels_of_two_channels_sum_to_one(config):
    likelihood = build_likelihood(config, channels=2)
    pixels = torch.cartesian_prod(LEVELS, LEVELS)[:, :, None]
    nll = likelihood.nll(_outputs(likelihood, 1, 1).expand(len(pixels), -1, -1), pixels).sum(1)
    assert (-nll).double().exp().sum().item() == pytest.approx(1, abs=1e-4)  # float32 logarithms


def test_a_categorical_probability_is_the_softmax_of_its_channel():
    likelihood = build_likelihood(CategoricalConfig(), channels=3)
    outputs, levels = _outputs(likelihood, 2, 5, 4), torch.randint(256, (2, 3, 5, 4))
    expected = np.empty((2, 3, 5, 4))
    for b, c, y, x in np.ndindex(expected.shape):
        logits = outputs[b, 256 * c : 256 * (c + 1), y, x].double().numpy()
        expected[b, c, y, x] = np.log(np.exp(logits).sum()) - logits[levels[b, c, y, x]]
    nll = likelihood.nll(outputs, LEVELS[levels])
    torch.testing.assert_close(nll, torch.from_numpy(expected).float())


def _mass(level: int, mean: float, scale: float) -> float:
    """A logistic density integrated by the trapezoidal rule over one level, or from it far outwards."""
    centre = level / 127.5 - 1
    low = centre - 1 / 255 if level > 0 else min(centre, mean) - 60 * scale
    high = centre + 1 / 255 if level < 255 else max(centre, mean) + 60 * scale
    x = np.linspace(low, high, 20001)
    return float(np.trapezoid(1 / (4 * scale * np.cosh((x - mean) / (2 * scale)) ** 2), x))


@pytest.mark.parametrize("pixel", [(0, 255, 0), (255, 0, 255), (12, 130, 201), (128, 0, 64)])
def test_a_mixtures_probability_is_its_density_integrated(pixel):
    m = 2
    likelihood = build_likelihood(LogisticMixtureConfig(num_components=m), channels=3)
    outputs = _outputs(likelihood, 1, 1, seed=sum(pixel), scale=0.7)
    o = outputs.double().flatten().numpy()
    logits, means, scales = o[:m], o[m : 4 * m].reshape(3, m), np.exp(o[4 * m : 7 * m]).reshape(3, m)
    alpha, beta, gamma = np.tanh(o[7 * m :]).reshape(3, m)
    r, g, b = (level / 127.5 - 1 for level in pixel)
    total = 0.0
    for k in range(m):
        centres = (means[0, k], means[1, k] + alpha[k] * r, means[2, k] + beta[k] * r + gamma[k] * g)
        mass = [
            _mass(level, centre, scales[i, k]) for i, (level, centre) in enumerate(zip(pixel, centres, strict=True))
        ]
        total += np.exp(logits[k]) / np.exp(logits).sum() * np.prod(mass)
    nll = likelihood.nll(outputs, torch.tensor([r, g, b]).view(1, 3, 1))
    assert nll.shape == (1, 1, 1)
    assert nll.item() == pytest.approx(-np.log(total), abs=1e-3)  # the rule's steps, float32 logarithms


def test_the_logit_laplace_density_integrates_to_one_and_its_level_is_squeezed():
    likelihood = build_likelihood(LogitLaplaceConfig(margin=0.1), channels=1)
    mean, scale = 0.4, 0.3
    x = np.linspace(1e-6, 1 - 1e-6, 400001)
    density = np.exp(-np.abs(np.log(x / (1 - x)) - mean) / scale) / (2 * scale * x * (1 - x))
    assert np.trapezoid(density, x) == pytest.approx(1, abs=1e-4)
    outputs = torch.tensor([mean, np.log(scale)]).float().view(1, 2, 1)
    for level in (0, 1, 100, 200, 255):
        squeezed = 0.1 + 0.8 * level / 255
        nll = likelihood.nll(outputs, LEVELS[level].view(1, 1, 1)).item()
        assert nll == pytest.approx(-np.log(np.interp(squeezed, x, density)), abs=1e-4)  # interpolated


def test_only_likelihoods_of_levels_say_that_their_nats_are_bits_of_the_picture():
    assert [build_likelihood(config, channels=3).discrete for config in CONFIGS] == [True, True, False]


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_extreme_outputs_leave_losses_gradients_and_the_shown_picture_finite(config, channels):
    likelihood = build_likelihood(config, channels=channels)
    target = torch.tensor([-1.0, 1.0, LEVELS[100].item()]).expand(2, channels, 3)
    for extreme in (-1e4, -100.0, 0.0, 100.0, 1e4):
        for mixed in (1.0, torch.randn(2, likelihood.num_outputs, 3).sign()):
            outputs = (torch.full((2, likelihood.num_outputs, 3), extreme) * mixed).requires_grad_()
            nll, point = likelihood.nll(outputs, target), likelihood.point(outputs)
            (nll.sum() + point.sum()).backward()
            assert bool(torch.isfinite(nll).all())
            assert outputs.grad is not None and bool(torch.isfinite(outputs.grad).all())
            assert point.shape == target.shape
            assert -1 <= point.min().item() <= point.max().item() <= 1


@pytest.mark.parametrize("config", CONFIGS[:2], ids=lambda config: config.kind)
def test_the_picture_shown_is_the_mean_of_the_distribution(config):
    likelihood = build_likelihood(config, channels=2)
    outputs = _outputs(likelihood, 1, 1, scale=0.2)
    if config.kind == "logistic_mixture":
        outputs[:, 3 * config.num_components : 5 * config.num_components] = -4  # narrow: no mass beyond the ends
    pixels = torch.cartesian_prod(LEVELS, LEVELS)[:, :, None]
    probabilities = (-likelihood.nll(outputs.expand(len(pixels), -1, -1), pixels).sum(1, keepdim=True)).exp()
    torch.testing.assert_close(
        likelihood.point(outputs), (probabilities * pixels).sum(0, keepdim=True), atol=1e-4, rtol=0
    )


def test_the_picture_shown_by_logit_laplace_is_its_median():
    likelihood = build_likelihood(LogitLaplaceConfig(margin=0.1), channels=1)
    mean = torch.tensor([-9.0, -1.0, 0.0, 0.7, 9.0])
    expected = (((1 / (1 + (-mean).exp())) - 0.1) / 0.8).clamp(0, 1) * 2 - 1
    outputs = torch.stack([mean, torch.zeros(5)])[None]
    torch.testing.assert_close(likelihood.point(outputs), expected.view(1, 1, 5))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_half_precision_outputs_are_judged_in_float32(config):
    likelihood = build_likelihood(config, channels=3)
    outputs, target = _outputs(likelihood, 2, 3, 3), LEVELS[torch.randint(256, (2, 3, 3, 3))]
    half = outputs.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(likelihood.point(half), likelihood.point(half.float()))
    assert likelihood.nll(half, target).dtype == likelihood.point(half).dtype == torch.float32
    torch.testing.assert_close(likelihood.nll(half, target), likelihood.nll(half.float(), target))
