"""Which stretches of a sequence are hidden from a model that has to tell what was there."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_hidden(
    shape: torch.Size, *, share: float, stretch: int, device: torch.device, generator: torch.Generator | None = None
) -> Tensor:
    """True where something is hidden, `[b, n]`: stretches that begin anywhere and may overlap.

    A place is hidden if one of the `stretch` places up to it begins a stretch, so with beginnings drawn at chance
    1 - (1 - share)^(1 / stretch) a `share` is hidden on average, but for the first places of a row (Baevski et al.
    2020, section 3.1, draw likewise).
    """
    rows, places = shape
    chance = 1 - (1 - share) ** (1 / stretch)
    begins = torch.rand(rows, places + stretch - 1, device=device, generator=generator) < chance
    return begins.unfold(1, stretch, 1).any(2)
