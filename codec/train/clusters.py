"""A codebook found by k-means on what a model makes of recordings, and a map that makes recordings more alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from codec.core.errors import UserError
from codec.models.units import UnitModel
from codec.quantize.kmeans import cluster
from codec.quantize.lookup import nearest

MOST_VECTORS = 200_000
LLOYD_STEPS = 20
COMPENSATION_CLASSES = 64  # more would come to be of one speaker each
ROWS_PER_CLASS = 50
COMPENSATED = 64  # directions: where latents hardly differ, recordings hardly differ either, and would be blown up
COMPENSATION_RIDGE = 1e-3  # of the mean variance, so that no direction is blown up


@torch.no_grad()
def draw_latents(
    model: UnitModel, recordings: Iterable[Tensor], *, most: int = MOST_VECTORS, still: float = 0.0, seed: int = 0
) -> Tensor:
    """Latents `[n, d]` of `recordings`, each speech `[1, time]`, on the CPU; of more than `most`, as many are drawn.

    Of `still` 0 no more than twice `most` are ever held. A recording that is shorter than a unit has none.

    Args:
        still: share of the latents that is left out, of those that change least from two before to two after: most of
            them are of silence, which would get many clusters though it is one thing. Held are then, for a while, as
            many times more as they are fewer.
    """
    drawn = round(most / (1 - still))
    generator = torch.Generator().manual_seed(seed)
    rows, changes, lots = torch.empty(0), torch.empty(0), torch.empty(0, dtype=torch.float64)
    for found in each_latents(model, recordings):
        rows = torch.cat([rows, found]) if len(rows) else found
        changes = torch.cat([changes, _changes(found)]) if len(changes) else _changes(found)
        lots = torch.cat([lots, torch.rand(len(found), generator=generator, dtype=torch.float64)])
        if len(rows) > 2 * drawn:
            rows, changes, lots = _luckiest(rows, changes, lots, most=drawn)
    rows, changes, _ = _luckiest(rows, changes, lots, most=drawn)
    moving = changes.argsort(descending=True)[: min(most, len(rows) - int(still * len(rows)))]
    return rows[moving.sort().values]


@torch.no_grad()
def find_compensation(model: UnitModel, recordings: Iterable[Tensor], rows: Tensor, *, seed: int = 0) -> Tensor:
    """The map `[d, d]` after which the latents of a unit differ alike in all directions from recording to recording.

    It is S^(-1/2), S being the covariance over recordings of the mean difference between latents and their unit, each
    counted as often as the unit is met: within-class covariance normalisation (Hatch, Kajarekar & Stolcke 2006, section
    2), the classes being clusters of `rows` `[n, d]`, drawn from their latents, and the sessions `recordings`, each
    speech `[1, time]`, in the directions in which `rows` differ most; of the others nothing is left. Its norm is that
    of the identity.

    Raises:
        UserError: too few latents.
    """
    classes = min(COMPENSATION_CLASSES, len(rows) // ROWS_PER_CLASS)
    if classes < 2:
        raise UserError(f"{len(rows)} latents are too few to compensate them: give more speech")
    centres = find_codebook(rows, classes, seed=seed)
    dim = rows.shape[1]
    strongest = torch.linalg.eigh(rows.T.cov().double().view(dim, dim))[1][:, -COMPENSATED:]
    scatter = torch.zeros(dim, dim, dtype=torch.float64)
    for found in each_latents(model, recordings):
        units = nearest(found, centres)
        sums = torch.zeros_like(centres).index_add_(0, units, found - centres[units])
        counts = torch.bincount(units, minlength=len(centres)).clamp_min(1)
        shifts = (sums / counts.sqrt()[:, None]).double()
        scatter += shifts.T @ shifts
    scatter = strongest.T @ scatter @ strongest
    floor = COMPENSATION_RIDGE * scatter.diagonal().mean() + torch.finfo(torch.float32).tiny
    values, directions = torch.linalg.eigh(scatter + floor * torch.eye(len(scatter)))
    directions = strongest @ directions
    inverse = directions * values.rsqrt() @ directions.T
    return (inverse * (dim**0.5 / inverse.norm())).float()


def set_compensation(model: UnitModel, compensation: Tensor) -> None:
    """Make `compensation` `[d, d]` that of `model`, whose config wants latents compensated."""
    assert model.compensation is not None
    model.compensation.copy_(compensation)


def each_latents(model: UnitModel, recordings: Iterable[Tensor]) -> Iterator[Tensor]:
    """Latents `[n, d]` of each of the `recordings` that makes a unit, on the CPU."""
    device = next(model.buffers()).device
    for recording in recordings:
        if recording.shape[1] >= model.config.downsample_factor:
            yield model.latents(recording[None].to(device))[0].T.float().cpu()


def _luckiest(rows: Tensor, changes: Tensor, lots: Tensor, *, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Those with the `most` smallest lots."""
    chosen = lots.argsort()[:most]
    return rows[chosen], changes[chosen], lots[chosen]


def _changes(latents: Tensor) -> Tensor:
    """How far it is, squared, from two before each of `latents` `[n, d]` to two after; ends stand for what is not."""
    places = torch.arange(len(latents), device=latents.device)
    before, after = (places - 2).clamp_min(0), (places + 2).clamp_max(len(latents) - 1)
    return (latents[after] - latents[before]).square().sum(1)


def check_enough(number: int, size: int) -> None:
    """Raises UserError unless there are as many latents, `number` of them, as `size`."""
    if number < size:
        raise UserError(f"{number} latents make no {size} units: give more speech, or ask for fewer units")


@torch.no_grad()
def find_codebook(rows: Tensor, size: int, *, seed: int = 0) -> Tensor:
    """Centres `[size, d]` of `rows` `[n, d]` by k-means (Lloyd 1982), seeded by k-means++.

    Raises:
        UserError: fewer rows than centres.
    """
    check_enough(len(rows), size)
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
