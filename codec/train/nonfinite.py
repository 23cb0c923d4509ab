"""NaN and Inf: a step that met one is undone, and the files it came from are named."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from codec.core import dist
from codec.core.errors import UserError
from codec.quantize.base import Quantizer


class Undo:
    """What a training forward changes before its losses are known: buffers, and the quantizers' own parameters."""

    def __init__(self, task: nn.Module):
        tensors = list(task.buffers())
        for module in task.modules():
            if isinstance(module, Quantizer):
                tensors += module.parameters()
        self._tensors = list({id(tensor): tensor for tensor in tensors}.values())
        self._kept = [torch.empty_like(tensor) for tensor in self._tensors]

    @torch.no_grad()
    def keep(self) -> None:
        """Remember them as they are; before every forward."""
        for kept, tensor in zip(self._kept, self._tensors, strict=True):
            kept.copy_(tensor)

    @torch.no_grad()
    def restore(self) -> None:
        """Put back what was kept."""
        for kept, tensor in zip(self._kept, self._tensors, strict=True):
            tensor.copy_(kept)


def blame(what: str, *, signal: Tensor, names: tuple[str, ...], losses: dict[str, float]) -> UserError:
    """What was not finite, and the files of those ranks where it began. Every rank must call it.

    Args:
        what: the best guess if neither the data nor a loss is to blame.
        signal: this rank's batch; `names` its files; `losses` as far as they were computed.
    """
    own = next((f"loss {name!r} is" for name, value in losses.items() if not math.isfinite(value)), None)
    if not bool(torch.isfinite(signal).all()):
        own = "the data is"
    reports = dist.all_gather_values((own, names))
    found = [report for report in reports if report[0]] or [(what, listed) for _, listed in reports]
    files = ", ".join(dict.fromkeys(name for _, listed in found for name in listed))
    return UserError(
        f"{found[0][0]} NaN or Inf, nothing was updated; the batch was {files}: "
        "remove the file if it is broken, or lower loop.optimizer.learning_rate, and resume"
    )
