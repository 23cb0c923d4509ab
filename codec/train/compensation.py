"""Linear maps that take off latents what does not tell sounds apart, found without labels."""

from __future__ import annotations

from collections.abc import Iterable

import numpy.typing as npt
import torch
from torch import Tensor

from codec.core.errors import UserError
from codec.core.piecewise import piece_starts
from codec.models.units import UnitModel
from codec.nn.features import Features, MfccConfig
from codec.quantize.lookup import nearest
from codec.train.clusters import each_latents, find_codebook

CLASSES = 64  # more would come to be of one speaker each
ROWS_PER_CLASS = 50
STRONGEST = 64  # directions: where latents hardly differ, recordings hardly differ either, and would be blown up
RIDGE = 1e-3  # of the mean variance, so that no direction is blown up
FRAMES_PER_SECOND = 100  # of cepstra, in which segments of sound are found
SEGMENT_PENALTY = 3.0  # squared, in deviations of cepstra: segments of some 35 ms, for half a phone is better than two


@torch.no_grad()
def compensation_for_recordings(model: UnitModel, recordings: Iterable[Tensor], rows: Tensor, *, seed: int) -> Tensor:
    """The map `[d, d]` after which the latents of a unit differ alike in all directions from recording to recording.

    It is S^(-1/2), S being the covariance over recordings of the mean difference between latents and their unit, each
    counted as often as the unit is met: within-class covariance normalisation (Hatch, Kajarekar & Stolcke 2006, section
    2), the classes being clusters of `rows` `[n, d]`, drawn from their latents, and the sessions `recordings`, each
    speech `[1, time]`, in the directions in which `rows` differ most; of the others nothing is left. Its norm is that
    of the identity.

    Raises:
        UserError: too few latents.
    """
    classes = min(CLASSES, len(rows) // ROWS_PER_CLASS)
    if classes < 2:
        raise UserError(f"{len(rows)} latents are too few to compensate them: give more speech")
    centres = find_codebook(rows, classes, seed=seed)
    dim = rows.shape[1]
    strongest = torch.linalg.eigh(rows.T.cov().double().view(dim, dim))[1][:, -STRONGEST:]
    scatter = torch.zeros(dim, dim, dtype=torch.float64)
    for _, found in each_latents(model, recordings):
        units = nearest(found, centres)
        sums = torch.zeros_like(centres).index_add_(0, units, found - centres[units])
        counts = torch.bincount(units, minlength=len(centres)).clamp_min(1)
        shifts = (sums / counts.sqrt()[:, None]).double()
        scatter += shifts.T @ shifts
    scatter = strongest.T @ scatter @ strongest
    floor = RIDGE * scatter.diagonal().mean() + torch.finfo(torch.float32).tiny
    values, directions = torch.linalg.eigh(scatter + floor * torch.eye(len(scatter)))
    directions = strongest @ directions
    return _of_unit_norm(directions * values.rsqrt() @ directions.T)


@torch.no_grad()
def compensation_for_segments(model: UnitModel, recordings: Iterable[Tensor]) -> Tensor:
    """The map `[d, d]` from a latent to the mean of the latents of its segment of sound, as well as a linear one can.

    Sound that stands still is one sound: what its latents differ in tells nothing apart, and is softened. The map is
    B T^(-1), B the covariance of the means of segments, T that of latents, which is linear regression, up to an offset
    and a factor: its norm is that of the identity. A segment is a piece of the best piecewise constant approximation of
    the cepstra of `recordings`, each speech `[1, time]`.

    Raises:
        UserError: no more segments than channels of latents, or segments that do not differ.
    """
    rate = model.config.sample_rate
    hop = rate // FRAMES_PER_SECOND
    hear = Features(MfccConfig(deltas=0, hop_length=hop, window=5 * hop // 2), sample_rate=rate)
    number, num_segments = 0, 0
    total, scatter, between = torch.zeros(()), torch.zeros(()), torch.zeros(())
    for speech, found in each_latents(model, recordings):
        latents = found.double()
        cepstra = hear(speech[None].cpu())[0].T.numpy()
        segments = units_in_segments(cepstra, frames_per_unit=model.config.downsample_factor / hop, size=len(found))
        lengths = torch.bincount(segments)[:, None]
        sums = latents.new_zeros(len(lengths), latents.shape[1]).index_add_(0, segments, latents)
        number, num_segments, total = number + len(latents), num_segments + len(lengths), total + latents.sum(0)
        scatter, between = scatter + latents.T @ latents, between + sums.T @ (sums / lengths)
    if num_segments <= (dim := total.numel()):
        raise UserError(
            f"{num_segments} segments of sound are too few to compensate latents of {dim} channels: give more speech"
        )
    common = total[:, None] * total / number
    scatter, between = scatter - common, between - common
    floor = RIDGE * scatter.diagonal().mean() + torch.finfo(torch.float32).tiny
    return _of_unit_norm(torch.linalg.solve(scatter + floor * torch.eye(len(scatter)), between).T)


def units_in_segments(cepstra: npt.NDArray, *, frames_per_unit: float, size: int) -> Tensor:
    """The segment of sound, from 0, that each of `size` units lies in, by `cepstra` `[n, d]` of frames."""
    starts = torch.from_numpy(piece_starts(cepstra, penalty=SEGMENT_PENALTY).nonzero()[0])
    places = (starts / frames_per_unit + 0.5).long()
    begins = torch.zeros(size, dtype=torch.long)
    begins[places[places < size]] = 1
    return begins.cumsum(0) - begins[0]


def _of_unit_norm(found: Tensor) -> Tensor:
    """`found` `[d, d]`, float32, with the norm of the identity.

    Raises:
        UserError: it is nothing, or has none.
    """
    if not 1e-6 < found.norm() < float("inf"):
        raise UserError("latents do not differ, and cannot be compensated: give other speech")
    return (found * (len(found) ** 0.5 / found.norm())).float()


def add_compensation(model: UnitModel, found: Tensor) -> None:
    """Let `model`, whose config wants latents compensated, map them by `found` `[d, d]` after what it does already."""
    assert model.compensation is not None
    model.compensation.copy_(found.to(model.compensation) @ model.compensation)
