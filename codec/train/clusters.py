"""A codebook found by k-means on what a model makes of recordings."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from codec.core.errors import UserError
from codec.models.units import UnitModel
from codec.quantize.kmeans import cluster
from codec.quantize.lookup import nearest

MOST_VECTORS = 200_000
LLOYD_STEPS = 20


@torch.no_grad()
def find_codebook(model: UnitModel, recordings: Iterable[Tensor], size: int, *, seed: int = 0) -> Tensor:
    """Centres `[size, d]` of the latents of `recordings`, each speech `[1, time]`, by k-means (Lloyd 1982).

    Seeded by k-means++; of more than 200,000 latents as many are drawn.

    Raises:
        UserError: fewer latents than centres.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = torch.cat([model.latents(recording[None])[0].T.cpu() for recording in recordings])
    if len(rows) < size:
        raise UserError(f"{len(rows)} latents make no {size} units: give more speech, or ask for fewer units")
    rows = rows[torch.randperm(len(rows), generator=generator)[:MOST_VECTORS]]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        centres = cluster(rows, None, size).centres
    for _ in range(LLOYD_STEPS):
        units = nearest(rows, centres)
        counts = torch.bincount(units, minlength=size)[:, None]
        sums = torch.zeros_like(centres).index_add_(0, units, rows)
        centres = torch.where(counts > 0, sums / counts.clamp_min(1), centres)
    return centres


def set_codebook(model: UnitModel, codebook: Tensor) -> None:
    """Make `codebook` `[K, d]` the units of `model`, whose quantizer looks up the nearest of a table."""
    state = model.quantizer.state_dict()
    found = {"codebook": codebook, "initialised": torch.ones_like(state["initialised"])}
    model.quantizer.load_state_dict(state | found)
