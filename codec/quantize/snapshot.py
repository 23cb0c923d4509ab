"""Reading state that the same forward pass changes later on, in a compiled graph too."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def snapshot(state: Tensor) -> Tensor:
    """`state` as it is now, differentiable: a copy where backward could see the change, else the tensor itself.

    Outside graphs only a tensor with a gradient is saved for backward. In a compiled graph, what backward needs of a
    changed input is saved by reference or computed again from it, and so sees the new values (torch 2.14): there it is
    a copy made by an operation that is never run a second time.
    """
    if torch.compiler.is_compiling():
        return torch.ops.codec.snapshot(state)
    return state.clone() if state.requires_grad else state


@torch.library.custom_op("codec::snapshot", mutates_args=(), schema="(Tensor state) -> Tensor")
def _operation(state: Tensor) -> Tensor:
    return state.clone()


@_operation.register_fake
def _(state: Tensor) -> Tensor:
    return torch.empty_like(state)


def _pass_on(ctx: Any, grad: Tensor) -> Tensor:
    return grad


_operation.register_autograd(_pass_on)
