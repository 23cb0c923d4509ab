"""Collectives, decided at call time: with no process group they are the identity, so one code path serves all."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as torch_dist
from torch import Tensor


def is_distributed() -> bool:
    """Whether this call has peers, asked anew every time (never cached in a constructor)."""
    return torch_dist.is_available() and torch_dist.is_initialized() and torch_dist.get_world_size() > 1


def rank() -> int:
    """This process's index among its peers, 0 when alone."""
    return torch_dist.get_rank() if is_distributed() else 0


def world_size() -> int:
    """Number of peers including this process, 1 when alone."""
    return torch_dist.get_world_size() if is_distributed() else 1


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """Sum of `tensor` over all ranks, the same bits on each; a new tensor. Every rank must call it."""
    if not is_distributed():
        return tensor
    total = tensor.detach().clone().contiguous()
    torch_dist.all_reduce(total)
    return total


def any_rank(flag: bool, *, device: torch.device) -> bool:
    """Whether `flag` holds on any rank. Every rank must call it."""
    return bool(all_reduce_sum(torch.tensor(int(flag), device=device)) > 0) if is_distributed() else flag


def all_gather_values(value: Any) -> list[Any]:
    """The small plain values of all ranks, in rank order. Every rank must call it."""
    if not is_distributed():
        return [value]
    values: list[Any] = [None] * world_size()
    torch_dist.all_gather_object(values, value)
    return values


def broadcast(tensor: Tensor, *, source: int = 0) -> Tensor:
    """`tensor` as rank `source` has it; shapes and dtypes must agree. Every rank must call it."""
    if not is_distributed():
        return tensor
    copy = tensor.detach().clone().contiguous()
    torch_dist.broadcast(copy, source)
    return copy


def differentiable_sum(tensor: Tensor) -> Tensor:
    """Sum of `tensor` over all ranks, for a loss: gradients averaged over ranks are those of the joined batch.

    Every rank must call it. On its way back each rank's gradient is multiplied by their number, since the average that
    follows (DDP's) divides by it.
    """
    if not is_distributed():
        return tensor
    scaled = tensor * world_size()
    return scaled + (all_reduce_sum(tensor.detach()) - scaled.detach())
