"""What a discriminator and the model it judges minimise, and how much the model should care."""

from __future__ import annotations

import torch
from torch import Tensor

from codec.losses.judgement import Judgement

LARGEST_BALANCE = 1e4
FLOOR = 1e-8


def discriminator_hinge(real: Judgement, fake: Judgement) -> Tensor:
    """Half the mean of max(0, 1 - real) plus that of max(0, 1 + fake), mean over judges (Lim and Ye 2017), 0-d."""
    pairs = zip(real.logits, fake.logits, strict=True)
    losses = [
        0.5 * ((1 - of_real.float()).relu().mean() + (1 + of_fake.float()).relu().mean()) for of_real, of_fake in pairs
    ]
    return torch.stack(losses).mean()


def generator_hinge(fake: Judgement) -> Tensor:
    """Minus the mean logit of what the model made, mean over judges, 0-d."""
    return torch.stack([-logits.float().mean() for logits in fake.logits]).mean()


def feature_distance(fake: Judgement, real: Judgement) -> Tensor:
    """Mean absolute difference of features relative to those of the real, mean over layers and judges, 0-d.

    Défossez et al. 2022, equation 2. No gradient reaches `real`.
    """
    ratios = []
    for of_fake, of_real in zip(fake.features, real.features, strict=True):
        for got, wanted in zip(of_fake, of_real, strict=True):
            wanted = wanted.detach().float()
            ratios.append((got.float() - wanted).abs().mean() / wanted.abs().mean().clamp_min(FLOOR))
    return torch.stack(ratios).mean()


def adversarial_balance(reconstruction: Tensor, adversarial: Tensor, outputs: Tensor) -> Tensor:
    """What to multiply the 0-d loss `adversarial` with so that it pulls as hard as the 0-d loss `reconstruction`.

    The ratio of the norms of their gradients (Esser et al. 2021, eq. 7), taken at the decoder's `outputs`; theirs is at
    the weights of its last layer, from which the outputs follow linearly. Within [0, 1e4], without a gradient.
    """
    (ours,) = torch.autograd.grad(reconstruction, outputs, retain_graph=True)
    (theirs,) = torch.autograd.grad(adversarial, outputs, retain_graph=True)
    return (ours.float().norm() / (theirs.float().norm() + FLOOR)).clamp(0, LARGEST_BALANCE).detach()
