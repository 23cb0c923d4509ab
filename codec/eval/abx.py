"""ABX: whether two tokens of a phone are nearer to each other than to a token of another phone.

The task is that of the ZeroSpeech challenges (Schatz et al. 2013; Versteegh et al. 2015; Dunbar et al. 2020).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from codec.core.errors import UserError
from codec.eval.abx_cells import CellErrors, Cells, cell_errors, plan
from codec.eval.abx_distance import DISTANCES, Distance
from codec.eval.abx_items import by_context, cut, thin_out
from codec.eval.interval import Interval, mean_interval
from codec.eval.item_file import AbxItem
from codec.files.workers import num_cores

Mode = Literal["within", "across"]
FrameDistance = Literal["angular", "kl"]


@dataclass(frozen=True)
class AbxScore:
    """How often phones were mistaken for others.

    Attributes:
        error: from 0 to 1; 0.5 is chance.
        interval: 95 % bootstrap interval of `error`, the pairs of phones being resampled: it says how much hangs on
            the pairs that were met, not on the speakers.
        num_triples, num_cells: that were asked about.
        by_pair: the error for each pair of phones, that of A and X first, then that of B.
    """

    error: float
    interval: Interval
    num_triples: int
    num_cells: int
    by_pair: dict[tuple[str, str], float]


def abx(
    items: Sequence[AbxItem],
    features_by_stem: Mapping[str, npt.NDArray],
    *,
    frame_rate: float,
    mode: Mode = "within",
    distance: FrameDistance | Literal["edit"] = "angular",
    max_per_cell: int | None = None,
    seed: int = 0,
) -> AbxScore:
    """The ABX error of features: the share of triples A, B, X in which X is nearer to B, though A is the same phone.

    A, B and X have the same context. Within speakers all three are of one; across, X is of another than A and B. A
    triple counts 1 if d(A, X) > d(B, X) and 0.5 if they are equal.

    Means are taken in this order, which is that of ZeroSpeech 2021 (Libri-light): over the triples of a cell (phone a,
    phone b, context, speaker of A and B, and across also the speaker of X); over the cells of a, b and the speaker of A
    and B, that is over contexts, and across over contexts and speakers of X together; over speakers; over the pairs
    (a, b), of which (b, a) is another. ZeroSpeech 2017 to 2020 differ across speakers alone: they average over contexts
    first, then over the pairs of speakers.

    Contexts are worked on one by one, on all cores; memory is bounded by the largest.

    Args:
        features_by_stem: by recording `[frames, d]`, or for "edit" integers `[frames]`; frame i has its centre at
            (i + 0.5) / frame_rate seconds.
        distance: "angular" warps frames in time by their angle over pi, "kl" by the mean of the two Kullback-Leibler
            divergences (of posteriors); "edit" is Levenshtein's distance of the symbols, repetitions left out, divided
            by the longer length.
        max_per_cell: no more A, no more B and no more X than these in a cell: of a phone in one context by one speaker
            so many items are drawn by `seed`. None takes all.

    Raises:
        UserError: there are no triples, or features that are missing, too short or of the wrong kind.
    """
    _check_options(frame_rate, mode, distance, max_per_cell)
    if mode == "across" and len({item.speaker for item in items}) == 1:
        raise UserError(f'all items are of speaker {items[0].speaker}: take mode="within", or add other speakers')
    if max_per_cell is not None:
        items = thin_out(items, most=max_per_cell, seed=seed)
    contexts = [(ours, plan(ours, across=mode == "across")) for ours in by_context(items)]
    contexts = [(ours, cells) for ours, cells in contexts if len(cells.members)]
    if not contexts:
        raise UserError(f"{len(items)} items make no triples {mode} speakers: no two phones share what they have to")
    measure = DISTANCES[distance]
    _check_features({item.stem for ours, _ in contexts for item in ours}, features_by_stem, measure, distance)

    def measured(context: tuple[list[AbxItem], Cells]) -> CellErrors:
        ours, cells = context
        frames = [cut(item, features_by_stem[item.stem], frame_rate=frame_rate) for item in ours]
        return cell_errors(cells, frames, measure)

    with ThreadPoolExecutor(num_cores()) as pool:
        return _score(pool.map(measured, contexts), seed)


def _score(contexts: Iterator[CellErrors], seed: int) -> AbxScore:
    sums: dict[tuple[str, str, str], list[float]] = {}  # by phones and speaker: of the errors of cells, and how many
    num_triples = 0
    for found in contexts:
        num_triples += int(found.triples.sum())
        groups = found.cells.groups
        for (a, b, _), error in zip(found.cells.members.tolist(), found.error.tolist(), strict=True):
            entry = sums.setdefault((groups[a].phone, groups[b].phone, groups[a].speaker), [0.0, 0])
            entry[0] += error
            entry[1] += 1
    by_pair: dict[tuple[str, str], list[float]] = {}
    for (a, b, _), (total, count) in sorted(sums.items()):
        by_pair.setdefault((a, b), []).append(total / count)
    means = {pair: float(np.mean(errors)) for pair, errors in by_pair.items()}
    interval = mean_interval(means.values(), seed=seed)
    assert interval is not None
    num_cells = sum(int(count) for _, count in sums.values())
    return AbxScore(interval.mean, interval, num_triples, num_cells, means)


def _check_options(frame_rate: float, mode: str, distance: str, max_per_cell: int | None) -> None:
    if not 0 < frame_rate < np.inf:
        raise UserError(f"frame_rate is {frame_rate}; wanted frames per second")
    if mode not in ("within", "across"):
        raise UserError(f"mode is {mode}; wanted within or across")
    if distance not in DISTANCES:
        raise UserError(f"distance is {distance}; wanted one of {', '.join(DISTANCES)}")
    least = 2 if mode == "within" else 1
    if max_per_cell is not None and max_per_cell < least:
        raise UserError(
            f"max_per_cell is {max_per_cell}; {mode} speakers it has to be {least} at least, or None for all"
        )


def _check_features(
    stems: set[str], features_by_stem: Mapping[str, npt.NDArray], measure: Distance, distance: str
) -> None:
    """Raises UserError unless every recording has features of the kind that the distance takes."""
    wanted = "integers [frames]" if measure.dims == 1 else "[frames, d], the same d in all"
    widths = set()
    for stem in sorted(stems):
        if stem not in features_by_stem:
            raise UserError(f"recording {stem} has no features; give them for every recording that has items")
        features = features_by_stem[stem]
        widths.add(features.shape[1:])
        integral = np.issubdtype(features.dtype, np.integer)
        if features.ndim != measure.dims or len(widths) > 1 or (measure.dims == 1 and not integral):
            got = f"{features.dtype} {list(features.shape)}"
            raise UserError(f"features of {stem} are {got}; distance {distance} takes {wanted}")
        if not np.isfinite(features).all():
            raise UserError(f"features of {stem} have values that are not finite")
        if not measure.signed and (features < 0).any():
            raise UserError(f"features of {stem} have negative values; distance {distance} takes posteriors")
