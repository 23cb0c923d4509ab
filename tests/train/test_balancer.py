"""Balanced losses pull by their weights, whatever their scales, and in value nothing changes."""

import pytest
import torch

from codec.train.balancer import Balancer, BalancerConfig


def _losses(outputs: torch.Tensor, scale: float) -> dict[str, torch.Tensor]:
    return {"one": scale * outputs.square().mean(), "two": outputs.sin().sum()}


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_each_loss_pulls_as_hard_as_its_weight_says(scale):
    outputs = torch.randn(2, 1, 50, requires_grad=True)
    balancer = Balancer(BalancerConfig(norm=2.0), {"one": 3.0, "two": 1.0})
    balanced = balancer(_losses(outputs, scale), outputs)
    assert balanced.item() == 0
    (pull,) = torch.autograd.grad(balanced, outputs)
    parts = [torch.autograd.grad(loss, outputs)[0] for loss in _losses(outputs, scale).values()]
    wanted = 2.0 * (0.75 * parts[0] / parts[0].norm() + 0.25 * parts[1] / parts[1].norm())
    torch.testing.assert_close(pull, wanted, rtol=1e-4, atol=1e-6)


def test_norms_are_averaged_over_steps_without_a_bias_to_the_start():
    balancer = Balancer(BalancerConfig(decay=0.5), {"one": 1.0})
    outputs = torch.ones(4, requires_grad=True)
    norms, pulls = [], []
    for scale in (1.0, 3.0, 2.0):
        loss = scale * outputs.sum()
        (pull,) = torch.autograd.grad(balancer({"one": loss}, outputs), outputs)
        norms.append(2 * scale)
        pulls.append(pull.norm().item())
    mean = (0.25 * norms[0] + 0.5 * norms[1] + norms[2]) / 1.75
    assert pulls == pytest.approx([1.0, norms[1] / ((0.5 * norms[0] + norms[1]) / 1.5), norms[2] / mean])


def test_a_loss_that_is_absent_leaves_its_share_to_the_others():
    balancer = Balancer(BalancerConfig(), {"late": 5.0, "two": 1.0})
    outputs = torch.randn(10, requires_grad=True)
    (pull,) = torch.autograd.grad(balancer({"two": outputs.sin().sum()}, outputs), outputs)
    assert pull.norm().item() == pytest.approx(1.0, rel=1e-4)
