"""Units that stay: fewer and longer runs than those of the nearest units."""

from __future__ import annotations

import torch
from torch import Tensor

from codec.core.segmentation import segment
from codec.models.units import UnitModel


@torch.no_grad()
def segmented_units(model: UnitModel, latents: Tensor, *, penalty: float) -> Tensor:
    """Units `[b, n]` of `latents` `[b, d, n]`, where every change costs `penalty` (Kamper & van Niekerk 2021).

    Args:
        penalty: in mean squared distances from a unit to its nearest neighbour; 0 gives the nearest units.

    Raises:
        UserError: `penalty` is negative or no number.
    """
    if penalty == 0:
        return model.quantizer.encode(latents)[:, 0]
    codebook = codebook_of(model)
    apart = torch.cdist(codebook, codebook).square().fill_diagonal_(float("inf")).min(1).values.mean()
    table, cost = codebook.cpu().numpy(), penalty * float(apart)
    rows = [segment(row.T.float().cpu().numpy(), table, penalty=cost).expand() for row in latents]
    return torch.stack([torch.from_numpy(row) for row in rows]).to(latents.device)


def codebook_of(model: UnitModel) -> Tensor:
    """The latents that units stand for, `[K, d]`, float32."""
    every = torch.arange(model.codebook_size, device=next(model.buffers()).device)
    return model.embeddings(every[None])[0].T.float()
