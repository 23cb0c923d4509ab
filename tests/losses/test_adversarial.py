"""The judge sees patches of the size it says, depends on nothing but the picture, and the balance balances."""

import pytest
import torch

from codec.losses.adversarial import adversarial_balance, discriminator_hinge, generator_hinge
from codec.losses.discriminator import PatchDiscriminator, PatchDiscriminatorConfig
from codec.losses.judgement import Judgement


@pytest.mark.parametrize(("num_strided", "patch"), [(1, 16), (2, 34), (3, 70)])
def test_a_logit_depends_on_one_patch_of_the_size_that_the_config_says(num_strided, patch):
    config = PatchDiscriminatorConfig(width=2, num_strided=num_strided)
    judge = PatchDiscriminator(config, channels=3).eval()
    for module in judge.modules():
        if isinstance(module, torch.nn.InstanceNorm2d):
            module.forward = lambda input: input  # the only layer that sees the whole picture
    picture = torch.randn(1, 3, 160, 160, requires_grad=True)
    (logits,) = judge(picture).logits
    middle = logits.shape[-1] // 2
    logits[0, 0, middle, middle].backward()
    assert picture.grad is not None
    rows = picture.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert int(rows[-1] - rows[0]) + 1 == patch


@pytest.mark.parametrize("num_strided", [1, 2, 3])
def test_the_smallest_picture_gives_one_logit(num_strided):
    config = PatchDiscriminatorConfig(width=4, num_strided=num_strided)
    judge = PatchDiscriminator(config, channels=3)
    assert judge(torch.randn(2, 3, config.smallest, config.smallest)).logits[0].shape == (2, 1, 1, 1)


def test_a_pictures_logits_do_not_depend_on_its_company_and_nothing_is_kept():
    judge = PatchDiscriminator(PatchDiscriminatorConfig(width=4), channels=3).train()
    pictures = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(judge(pictures).logits[0][:1], judge(pictures[:1]).logits[0])
    assert list(judge.buffers()) == []


def _of(*logits: torch.Tensor) -> Judgement:
    return Judgement(logits)


def test_hinge_losses_are_what_lim_and_ye_write():
    real, fake = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-3.0, 0.0, 1.0])
    assert discriminator_hinge(_of(real), _of(fake)).item() == pytest.approx(
        0.5 * ((0 + 0.5 + 2) / 3 + (0 + 1 + 2) / 3)
    )
    assert generator_hinge(_of(fake)).item() == pytest.approx(2 / 3)


def test_balanced_losses_pull_equally_hard():
    outputs = torch.randn(2, 3, 4, 4, requires_grad=True)
    strong, weak = 5 * outputs.square().sum(), 0.01 * outputs.sin().sum()
    balance = adversarial_balance(strong, weak, outputs)
    (ours,) = torch.autograd.grad(strong, outputs, retain_graph=True)
    (theirs,) = torch.autograd.grad(balance * weak, outputs)
    assert theirs.norm().item() == pytest.approx(ours.norm().item(), rel=1e-4)
    assert not balance.requires_grad
    assert adversarial_balance(strong, 0 * outputs.sum(), outputs).item() == 1e4
