"""Between latents `[b, d, *space]` and the rows `[N, d]` that a lookup works on."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def to_rows(latents: Tensor, valid: Tensor | None) -> Tensor:
    """Float32 rows `[N, d]` of latents `[b, d, *space]`; those not `valid` `[N]` are zero, whatever they held."""
    rows = latents.movedim(1, -1).reshape(-1, latents.shape[1]).float()
    return rows if valid is None else torch.where(valid[:, None], rows, 0)


def project(linear: nn.Linear | None, rows: Tensor) -> Tensor:
    """`linear(rows)` in float32 whatever the weights' type; `rows` itself if there is no projection."""
    if linear is None:
        return rows
    return F.linear(rows, linear.weight.float(), linear.bias.float())
