"""Gradient estimators: how a gradient passes a lookup that has none.

Each takes the rows before and after the lookup, `inputs` and `vectors` `[N, D]` (float32), and gives `[N, D]` whose
value is `vectors` bit for bit; they differ in what flows back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

OPPOSITE = 1e-5  # directions whose sum is shorter have no rotation that float32 could tell

Estimator = Literal["straight_through", "rotation", "diveq"]


def straight_through(inputs: Tensor, vectors: Tensor) -> Tensor:
    """The identity to `inputs` backward (van den Oord et al. 2017, section 3.2); nothing to `vectors`."""
    return _apply(_StraightThrough, inputs, vectors)


def rotate(inputs: Tensor, vectors: Tensor) -> Tensor:
    """The rotation trick (Fifty et al. 2025, section 4.2): q = λR e with λ and R held constant backward.

    R is the rotation that takes the direction of e to that of q, R = I - 2 r rᵀ + 2 q̂ êᵀ with r the unit vector
    between the two, and λ = |q| / |e|: `inputs` get λ Rᵀ g, `vectors` nothing. Where a direction does not exist (e or q
    zero, or the two opposite) the gradient passes straight through. λ has no bound: a latent that is short against its
    entry gets a large gradient.
    """
    return _apply(_Rotation, inputs, vectors)


def diveq(inputs: Tensor, vectors: Tensor) -> Tensor:
    """DiVeQ (Vali et al. 2026, section 3) without its noise: q = e + |q - e| u, with the direction u held constant.

    The length |q - e| is differentiated, so both ends learn: with u = (q - e) / |q - e| (zero where the two are equal),
    `inputs` get g - u (u.g) and `vectors` u (u.g). The paper's small noise on u is left out: with it q is not exact.
    """
    return _apply(_Diveq, inputs, vectors)


ESTIMATORS: dict[Estimator, Callable[[Tensor, Tensor], Tensor]] = {
    "straight_through": straight_through,
    "rotation": rotate,
    "diveq": diveq,
}


def _apply(function: type[torch.autograd.Function], inputs: Tensor, vectors: Tensor) -> Tensor:
    output: Any = function.apply(inputs, vectors)
    return output


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, vectors: Tensor) -> Tensor:
        return vectors.clone()  # not a view, which nobody could change in place

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


class _BothEnds(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, vectors: Tensor) -> Tensor:
        ctx.save_for_backward(inputs, vectors)
        return vectors.clone()


class _Rotation(_BothEnds):
    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        inputs, vectors = ctx.saved_tensors
        (grad,) = grads
        length_in, length_out = inputs.norm(dim=1, keepdim=True), vectors.norm(dim=1, keepdim=True)
        unit_in, unit_out = inputs / length_in, vectors / length_out
        between = unit_in + unit_out
        length = between.norm(dim=1, keepdim=True)
        between = between / length
        turned = grad - 2 * between * _dot(between, grad) + 2 * unit_in * _dot(unit_out, grad)
        turned = turned * (length_out / length_in)
        exists = turned.isfinite().all(1, keepdim=True) & (length > OPPOSITE)
        return torch.where(exists, turned, grad), None


class _Diveq(_BothEnds):
    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        inputs, vectors = ctx.saved_tensors
        (grad,) = grads
        direction = torch.nn.functional.normalize(vectors - inputs, dim=1)
        along = direction * _dot(direction, grad)
        return grad - along, along


def _dot(left: Tensor, right: Tensor) -> Tensor:
    return (left * right).sum(1, keepdim=True)
