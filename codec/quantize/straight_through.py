"""Gradient estimators: how a gradient passes a lookup that has none."""

from __future__ import annotations

from torch import Tensor


def straight_through(inputs: Tensor, vectors: Tensor) -> Tensor:
    """`vectors` forward, the identity to `inputs` backward (van den Oord et al. 2017, section 3.2).

    Any shape, both alike. The value is `vectors` bit for bit: `inputs - inputs` is zero, where the usual
    `inputs + (vectors - inputs)` rounds.
    """
    return vectors.detach() + (inputs - inputs.detach())
