"""How well the boundaries between units fall on those between phones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codec.core.errors import UserError
from codec.core.runs import find_runs
from codec.eval.interval import Interval
from codec.eval.phones import Phone
from codec.eval.pooled import pooled_interval, ratio

TOLERANCE_S = 0.02
_MARGIN_S = 0.05  # what aligners may leave out at the ends of a recording
_TOUCHING_S = 1e-3  # an end and a start no further apart are one boundary
_ROUNDING_S = 1e-9  # added to the tolerance: 0.30 - 0.28 is more than 0.02 in floating point


@dataclass(frozen=True)
class BoundaryScores:
    """How boundaries found agree with those of reference; None is a measure that these boundaries do not define.

    Attributes:
        num_hits: pairs of a boundary found and one of reference, each in one pair at most.
        precision: hits over boundaries found.
        recall: hits over boundaries of reference.
        f1: harmonic mean of the two.
        over_segmentation: boundaries found over those of reference, minus 1.
        r_value: 1 is perfect; unlike F1, it is not raised by boundaries everywhere (Räsänen, Laine and Altosaar 2009).
    """

    num_found: int
    num_reference: int
    num_hits: int
    precision: Interval | None
    recall: Interval | None
    f1: Interval | None
    over_segmentation: Interval | None
    r_value: Interval | None


def boundary_scores(
    found: Sequence[np.ndarray], reference: Sequence[np.ndarray], *, tolerance_s: float = TOLERANCE_S, seed: int = 0
) -> BoundaryScores:
    """Scores of boundary times over all recordings, with intervals over recordings.

    Args:
        found: seconds `[boundaries]` of each recording, ascending: those inside it, without its start and end.
        reference: likewise, for the same recordings.
        tolerance_s: how far from a boundary of reference a hit may be, this distance included.

    Raises:
        UserError: not the same number of recordings, times that do not ascend, or a negative tolerance.
    """
    if len(found) != len(reference):
        raise UserError(f"boundaries of {len(found)} recordings beside a reference of {len(reference)}: give the same")
    if not 0 <= tolerance_s < math.inf:
        raise UserError(f"tolerance_s={tolerance_s} must be a number of seconds from 0, such as 0.02")
    totals = np.array(
        [
            (count_hits(times, truth, tolerance_s=tolerance_s), len(times), len(truth))
            for times, truth in zip(found, reference, strict=True)
        ],
        dtype=np.int64,
    ).reshape(-1, 3)
    num_hits, num_found, num_reference = totals.sum(axis=0).tolist()
    measures = (_precision, _recall, _f1, _over_segmentation, _r_value)
    return BoundaryScores(
        num_found, num_reference, num_hits, *(pooled_interval(totals, measure, seed=seed) for measure in measures)
    )


def run_boundaries(values: np.ndarray, *, frame_rate: float) -> np.ndarray:
    """Seconds at which `values` `[frames]`, units or labels, change: frame t begins at t / frame_rate."""
    return find_runs(values).starts[1:] / frame_rate


def phone_boundaries(phones: Sequence[Phone], *, duration_s: float) -> np.ndarray:
    """Seconds at which `phones` start and end, each once, without the start and the end of a recording.

    The first start and the last end are the recording's if they are at most 50 ms from those.
    """
    starts, ends = [phone.start_s for phone in phones], [phone.end_s for phone in phones]
    if starts and starts[0] <= _MARGIN_S:
        starts = starts[1:]
    if ends and ends[-1] >= duration_s - _MARGIN_S:
        ends = ends[:-1]
    times = np.sort(np.array([*starts, *ends], dtype=np.float64))
    return times[np.diff(times, prepend=-np.inf) > _TOUCHING_S]


def near_phones(times: np.ndarray, phones: Sequence[Phone], *, tolerance_s: float = TOLERANCE_S) -> np.ndarray:
    """Those of `times` `[boundaries]` in seconds that are in one of `phones`, or at most `tolerance_s` away."""
    reach = tolerance_s + _ROUNDING_S
    starts = np.array([phone.start_s for phone in phones])
    latest_ends = np.maximum.accumulate([-np.inf, *(phone.end_s for phone in phones)])
    begun = np.searchsorted(starts, times + reach, side="right")
    return times[latest_ends[begun] >= times - reach]


def count_hits(found: np.ndarray, reference: np.ndarray, *, tolerance_s: float) -> int:
    """The most pairs, one to one, of ascending times that are at most `tolerance_s` seconds apart.

    The earliest boundaries that can be paired are: on a line, with one tolerance for all, no choice gives more pairs.

    Raises:
        UserError: times do not ascend.
    """
    for times in (found, reference):
        if times.ndim != 1 or not (np.isfinite(times).all() and (np.diff(times) >= 0).all()):
            raise UserError("boundaries must be seconds in ascending order, one row a recording")
    early, late = found.tolist(), reference.tolist()
    hits = place = other = 0
    while place < len(early) and other < len(late):
        gap = early[place] - late[other]
        if abs(gap) <= tolerance_s + _ROUNDING_S:
            hits, place, other = hits + 1, place + 1, other + 1
        elif gap < 0:
            place += 1
        else:
            other += 1
    return hits


def _precision(sums: np.ndarray) -> np.ndarray:
    return ratio(sums[..., 0], sums[..., 1])


def _recall(sums: np.ndarray) -> np.ndarray:
    return ratio(sums[..., 0], sums[..., 2])


def _f1(sums: np.ndarray) -> np.ndarray:
    return ratio(2 * sums[..., 0], sums[..., 1] + sums[..., 2])


def _over_segmentation(sums: np.ndarray) -> np.ndarray:
    return ratio(sums[..., 1], sums[..., 2]) - 1


def _r_value(sums: np.ndarray) -> np.ndarray:
    """1 minus the mean of the distances to the perfect point and to the line on which every boundary found is a hit."""
    recall, over = _recall(sums), _over_segmentation(sums)
    to_perfect = np.hypot(1 - recall, over)
    to_line = np.abs(recall - 1 - over) / math.sqrt(2)
    return 1 - (to_perfect + to_line) / 2
