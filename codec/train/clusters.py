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
def draw_latents(model: UnitModel, recordings: Iterable[Tensor], *, most: int = MOST_VECTORS, seed: int = 0) -> Tensor:
    """Latents `[n, d]` of `recordings`, each speech `[1, time]`, on the CPU; of more than `most`, as many are drawn.

    No more than twice `most` are ever held. A recording that is shorter than a unit has none.
    """
    device = next(model.buffers()).device
    generator = torch.Generator().manual_seed(seed)
    rows, lots = torch.empty(0), torch.empty(0, dtype=torch.float64)
    for recording in recordings:
        if recording.shape[1] < model.config.downsample_factor:
            continue
        found = model.latents(recording[None].to(device))[0].T.float().cpu()
        rows = torch.cat([rows, found]) if len(rows) else found
        lots = torch.cat([lots, torch.rand(len(found), generator=generator, dtype=torch.float64)])
        if len(rows) > 2 * most:
            rows, lots = _luckiest(rows, lots, most)
    return _luckiest(rows, lots, most)[0]


def _luckiest(rows: Tensor, lots: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Those with the `most` smallest lots."""
    chosen = lots.argsort()[:most]
    return rows[chosen], lots[chosen]


@torch.no_grad()
def find_codebook(rows: Tensor, size: int, *, seed: int = 0) -> Tensor:
    """Centres `[size, d]` of `rows` `[n, d]` by k-means (Lloyd 1982), seeded by k-means++.

    Raises:
        UserError: fewer rows than centres.
    """
    if len(rows) < size:
        raise UserError(f"{len(rows)} latents make no {size} units: give more speech, or ask for fewer units")
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
    """Make `codebook` `[K, d]` the units of `model`, whose quantizer is of kind `ema`."""
    state = model.quantizer.state_dict()
    found = {"codebook": codebook, "initialised": torch.ones_like(state["initialised"])}
    model.quantizer.load_state_dict(state | found)
