"""Bits of a picture: the mean over what is real, and a bound whose parts add up."""

import math

import pytest
import torch

from codec.losses.likelihood import bits_per_dim, nll_per_dim
from codec.nn.likelihoods import CategoricalConfig, LogisticMixtureConfig, LogitLaplaceConfig, build_likelihood

CONFIGS = [CategoricalConfig(), LogisticMixtureConfig(num_components=2), LogitLaplaceConfig()]


def _picture(*shape: int) -> torch.Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(0)) / 127.5 - 1


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_nats_per_dim_are_the_pictures_nats_over_its_dimensions(config):
    likelihood, target = build_likelihood(config, channels=3), _picture(2, 3, 4, 5)
    outputs = torch.randn(2, likelihood.num_outputs, 4, 5)
    expected = likelihood.nll(outputs, target).double().sum() / (2 * 3 * 4 * 5)
    assert nll_per_dim(likelihood, outputs, target).item() == pytest.approx(expected.item(), rel=1e-5)
    mask = torch.zeros(2, 4, 5, dtype=torch.bool)
    mask[0, :2] = True
    part = nll_per_dim(likelihood, outputs[:1, :, :2], target[:1, :, :2])
    torch.testing.assert_close(nll_per_dim(likelihood, outputs, target, mask), part)


def test_knowing_nothing_costs_eight_bits_per_dim():
    likelihood = build_likelihood(CategoricalConfig(), channels=3)
    nats = nll_per_dim(likelihood, torch.zeros(1, likelihood.num_outputs, 2, 2), _picture(1, 3, 2, 2))
    assert nats.item() / math.log(2) == pytest.approx(8, abs=1e-5)


def test_the_codes_of_the_papers_cifar_model_cost_15_eighths_of_a_bit_per_dim():
    target, codes = _picture(4, 3, 32, 32), torch.zeros(4, 10, 8, 8, dtype=torch.int64)
    bits = bits_per_dim(torch.tensor(2 * math.log(2)), [(codes, 512)], target)
    assert {name: round(value.item(), 6) for name, value in bits.items()} == {
        "bits_per_dim": 2.0,
        "code_bits_per_dim": 10 * 64 * 9 / 3072,
        "bound_bits_per_dim": 2.0 + 1.875,
    }


def test_positions_without_a_code_and_padding_cost_nothing():
    target = _picture(1, 3, 4, 8)
    mask = torch.zeros(1, 4, 8, dtype=torch.bool)
    mask[..., :4] = True
    codes = torch.zeros(1, 1, 2, 4, dtype=torch.int64)
    codes[..., 2:] = -1
    coarse = torch.zeros(1, 1, 1, 2, dtype=torch.int64)
    coarse[..., 1:] = -1
    bits = bits_per_dim(torch.tensor(0.0), [(coarse, 4), (codes, 16)], target, mask)
    assert bits["code_bits_per_dim"].item() == pytest.approx((2 + 4 * 4) / (3 * 4 * 4))
