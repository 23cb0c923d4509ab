"""What a discriminator and the model it judges minimise, and how much the model should care."""

from __future__ import annotations

import torch
from torch import Tensor

LARGEST_BALANCE = 1e4
FLOOR = 1e-8


def discriminator_hinge(real: Tensor, fake: Tensor) -> Tensor:
    """Half the mean of max(0, 1 - real) plus that of max(0, 1 + fake), of logits of any shape (Lim and Ye 2017)."""
    return 0.5 * ((1 - real.float()).relu().mean() + (1 + fake.float()).relu().mean())


def generator_hinge(fake: Tensor) -> Tensor:
    """Minus the mean logit of what the model made."""
    return -fake.float().mean()


def adversarial_balance(reconstruction: Tensor, adversarial: Tensor, outputs: Tensor) -> Tensor:
    """What to multiply the 0-d loss `adversarial` with so that it pulls as hard as the 0-d loss `reconstruction`.

    The ratio of the norms of their gradients (Esser et al. 2021, eq. 7), taken at the decoder's `outputs`; theirs is at
    the weights of its last layer, from which the outputs follow linearly. Within [0, 1e4], without a gradient.
    """
    (ours,) = torch.autograd.grad(reconstruction, outputs, retain_graph=True)
    (theirs,) = torch.autograd.grad(adversarial, outputs, retain_graph=True)
    return (ours.float().norm() / (theirs.float().norm() + FLOOR)).clamp(0, LARGEST_BALANCE).detach()
