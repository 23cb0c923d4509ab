"""A codebook found by k-means on what a model makes of recordings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from codec.core.errors import UserError
from codec.models.units import UnitModel
from codec.quantize.kmeans import cluster
from codec.quantize.lookup import nearest
from codec.quantize.ward import merged

MOST_VECTORS = 200_000
LLOYD_STEPS = 20
FINER = 8  # clusters that are merged, for each that is wanted
MOST_TO_MERGE = 2048  # clusters: merging takes the third power of their number


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
    for _, found in each_latents(model, recordings):
        rows = torch.cat([rows, found]) if len(rows) else found
        changes = torch.cat([changes, _changes(found)]) if len(changes) else _changes(found)
        lots = torch.cat([lots, torch.rand(len(found), generator=generator, dtype=torch.float64)])
        if len(rows) > 2 * drawn:
            rows, changes, lots = _luckiest(rows, changes, lots, most=drawn)
    rows, changes, _ = _luckiest(rows, changes, lots, most=drawn)
    moving = changes.argsort(descending=True)[: min(most, len(rows) - int(still * len(rows)))]
    return rows[moving.sort().values]


def each_latents(model: UnitModel, recordings: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Each of the `recordings` that makes a unit, and its latents `[n, d]`, on the CPU."""
    device = next(model.buffers()).device
    for recording in recordings:
        if recording.shape[1] >= model.config.downsample_factor:
            yield recording, model.latents(recording[None].to(device))[0].T.float().cpu()


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
    """Centres `[size, d]` of `rows` `[n, d]` by k-means (Lloyd 1982).

    It starts from clusters that are merged out of up to `FINER` times as many, `MOST_TO_MERGE` at most, found by
    k-means that starts from k-means++: what it ends at is then nearer to the rows, and depends less on `seed`. Where
    there are no more than are wanted, they are taken as they are.

    Raises:
        UserError: fewer rows than centres.
    """
    check_enough(len(rows), size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        centres = cluster(rows, None, max(size, min(FINER * size, MOST_TO_MERGE, len(rows)))).centres
    centres, counts = _settled(rows, centres)
    if size < int((met := counts > 0).sum()):
        return _settled(rows, merged(centres[met], counts[met], size))[0]
    return centres[counts.argsort(descending=True, stable=True)[:size]]


def _settled(rows: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """`centres` after Lloyd's steps, and the number of rows of each in the last; one that has none stays."""
    counts = torch.zeros(len(centres), dtype=torch.long)
    for _ in range(LLOYD_STEPS):
        units = nearest(rows, centres)
        counts = torch.bincount(units, minlength=len(centres))
        sums = torch.zeros_like(centres).index_add_(0, units, rows)
        centres = torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], centres)
    return centres, counts


def set_codebook(model: UnitModel, codebook: Tensor) -> None:
    """Make `codebook` `[K, d]` the units of `model`, whose quantizer is of kind `ema`."""
    state = model.quantizer.state_dict()
    found = {"codebook": codebook, "initialised": torch.ones_like(state["initialised"])}
    model.quantizer.load_state_dict(state | found)
