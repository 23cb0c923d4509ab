"""One record of losses and figures from those of several parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def mean_losses(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of every loss over the parts, which all have the same ones."""
    return {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}


def merge_stats(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Every figure's mean over the parts, `restarts` a sum; and each part's own as `name/0`, `name/1`, ..."""
    merged: dict[str, Tensor] = {}
    for name in parts[0]:
        values = torch.stack([part[name] for part in parts])
        merged[name] = values.sum() if name == "restarts" else values.mean()
        merged |= {f"{name}/{number}": value for number, value in enumerate(values.unbind())}
    return merged
