"""What recordings have in common: latents averaged with those of like moments in other recordings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.core.errors import UserError

REACH = 1  # latents on either side by which moments are compared
MOST_MOMENTS = 100_000  # to compare with
NEAREST = 16
OWN_WEIGHT = 2  # of a moment beside its neighbours
GROUPS = 256  # of moments, each of which gives one neighbour at most, so that of many recordings no one gives all
COMPARED = 128  # strongest directions of windows: the others hold little, and cost as much
ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class Moments:
    """Moments of recordings to compare with, in the order of the recordings, `m` being a multiple of the groups.

    Attributes:
        latents: `[m, d]`.
        keys: `[m, p]`, windows of latents around them in the directions that count.
        directions: `[d * (2 * REACH + 1), p]`, orthonormal.
        recordings: `[m]`, the number of each one's recording.
        num_groups: of neighbours in the order, equally many in each.
    """

    latents: Tensor
    keys: Tensor
    directions: Tensor
    recordings: Tensor
    num_groups: int

    def to(self, device: str | torch.device) -> Moments:
        """The same on `device`, where comparisons then take place."""
        tensors = {name: getattr(self, name).to(device) for name in ("latents", "keys", "directions", "recordings")}
        return replace(self, **tensors)


def draw_moments(
    latents: Sequence[Tensor], *, most: int = MOST_MOMENTS, groups: int = GROUPS, seed: int = 0
) -> Moments:
    """Moments drawn at random from `latents` `[n, d]` of each recording: all, or about `most` of them.

    Fewer than `groups` are left out, at random, so that all groups are alike.

    Raises:
        UserError: there are none.
    """
    total = sum(map(len, latents))
    if not total:
        raise UserError("there is no speech to find neighbours in: give recordings")
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(total, generator=generator)[:most]
    num_groups = min(groups, len(chosen))
    chosen = chosen[: len(chosen) // num_groups * num_groups].sort().values
    lengths = torch.tensor([len(found) for found in latents])
    drawn = torch.zeros(total, dtype=torch.bool).index_fill_(0, chosen, True).split(lengths.tolist())
    windows = torch.cat([_windows(found)[those] for found, those in zip(latents, drawn, strict=True) if len(found)])
    recordings = torch.arange(len(latents)).repeat_interleave(lengths)[chosen]
    centred = (windows - windows.mean(0)).double()
    directions = torch.linalg.eigh(centred.T @ centred)[1][:, -COMPARED:].to(windows)
    middles = windows.chunk(2 * REACH + 1, dim=1)[REACH]
    return Moments(middles, windows @ directions, directions, recordings, num_groups)


def neighbour_means(latents: Iterable[Tensor], moments: Moments) -> Iterator[Tensor]:
    """`latents` `[n, d]` of each recording, averaged with those of the `NEAREST` moments of others most like them.

    Non-local means (Buades, Coll & Morel 2005) over speech: what recurs from speaker to speaker stays, what is of one
    of them or of one moment is averaged out. Alike are moments whose keys have a small squared distance. A recording is
    the one that had its number in `draw_moments`; where no other one is, its latents are left.
    """
    halves = moments.keys.square().sum(1) / 2
    for number, found in enumerate(latents):
        here = found.to(moments.keys)
        barred = halves.masked_fill(moments.recordings == number, torch.inf)
        keys = _windows(here) @ moments.directions
        parts = zip(keys.split(ROWS_AT_ONCE), here.split(ROWS_AT_ONCE), strict=True)
        yield torch.cat([_averaged(those, own, moments, barred) for those, own in parts]).to(found)


def _averaged(keys: Tensor, own: Tensor, moments: Moments, barred: Tensor) -> Tensor:
    likeness = torch.addmm(-barred, keys, moments.keys.T).unflatten(1, (moments.num_groups, -1))
    best, places = likeness.max(2)
    chosen, groups = best.topk(min(NEAREST, moments.num_groups), dim=1)
    rows = groups * likeness.shape[2] + places.gather(1, groups)
    there = chosen.isfinite()[..., None]
    others = (moments.latents[rows] * there).sum(1)
    return (others + OWN_WEIGHT * own) / (there.sum(1) + OWN_WEIGHT)


def _windows(latents: Tensor) -> Tensor:
    """Latents `[n, d]` side by side with `REACH` before and after; the first and last stand for what is not."""
    padded = F.pad(latents.T[None], (REACH, REACH), mode="replicate")[0]
    return padded.unfold(1, 2 * REACH + 1, 1).permute(1, 2, 0).flatten(1)
