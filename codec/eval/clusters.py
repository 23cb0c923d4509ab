"""How well units agree with phones, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codec.core.errors import UserError
from codec.eval.interval import Interval
from codec.eval.pooled import pooled_ratio

UNLABELLED = -1
"""The label of frames that no phone is known of."""


@dataclass(frozen=True, eq=False)
class LabelledUnits:
    """One recording.

    Attributes:
        units: integers `[frames]` from 0.
        labels: the phone of each frame, integers `[frames]` from 0, or UNLABELLED.

    Raises:
        UserError: they are not of the same length, or not such integers.
    """

    units: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if self.units.ndim != 1 or self.units.shape != self.labels.shape:
            raise UserError(
                f"units of shape {self.units.shape} beside labels of shape {self.labels.shape}: "
                "give one unit and one label a frame"
            )
        for name, values, least in (("units", self.units, 0), ("labels", self.labels, UNLABELLED)):
            if len(values) and not (np.issubdtype(values.dtype, np.integer) and values.min() >= least):
                raise UserError(f"{name} must be integers from {least}, not {values.dtype} from {values.min()}")

    @property
    def known(self) -> LabelledUnits:
        """The frames that have a label."""
        known = self.labels != UNLABELLED
        return LabelledUnits(self.units[known].astype(np.int64), self.labels[known].astype(np.int64))


@dataclass(frozen=True, eq=False)
class ClusterScores:
    """What units tell of phones; None is a measure that these frames do not define.

    Attributes:
        confusion: frames by unit and phone, int64 `[units, phones]`, of the scored recordings.
        accuracy: share of frames whose phone is the one that their unit is mapped to: that which the unit overlaps
            most, the first of equals (van den Oord et al. 2017, section 4.3).
        accuracy_without_silence: the same, frames of silence dropped before mapping and scoring.
        commonest: the floor of `accuracy`, always to say the phone commonest in the recordings of the mapping.
        commonest_without_silence: the floor of `accuracy_without_silence`.
        phone_purity: mean over frames of p(commonest phone of the unit | unit) (Hsu et al. 2021, section IV-E).
        cluster_purity: mean over frames of p(commonest unit of the phone | phone) (the same).
        pnmi: I(phone; unit) / H(phone) (the same).
        nmi: 2 I(phone; unit) / (H(phone) + H(unit)): normalised by the arithmetic mean of the entropies.
    """

    confusion: np.ndarray
    accuracy: Interval | None
    accuracy_without_silence: Interval | None
    commonest: Interval | None
    commonest_without_silence: Interval | None
    phone_purity: Interval | None
    cluster_purity: Interval | None
    pnmi: Interval | None
    nmi: Interval | None


def cluster_scores(
    recordings: Sequence[LabelledUnits],
    *,
    silence: int | None = None,
    mapping_from: Sequence[LabelledUnits] | None = None,
    seed: int = 0,
) -> ClusterScores:
    """Scores of units against phones over all labelled frames of `recordings`.

    Intervals are over recordings, with the mapping, the commonest units and the probabilities held as they are:
    the spread of the scored frames, without the flattery of resamples that repeat recordings.

    Args:
        silence: the label of silence; without it, nothing is left out.
        mapping_from: recordings that units are mapped to phones by, for the accuracies and their floors, so that many
            units and few frames do not flatter; a unit that they lack is always wrong. As a default, the recordings
            scored, as in the paper.

    Raises:
        UserError: no frame has a label.
    """
    scored = [recording.known for recording in recordings]
    mapped = scored if mapping_from is None else [recording.known for recording in mapping_from]
    for part, name in ((scored, "the recordings to score"), (mapped, "the recordings to map by")):
        if not any(len(recording.labels) for recording in part):
            raise UserError(f"no frame of {name} has a label: look at the alignments and their names")
    shape = _table_shape([*scored, *mapped])
    frames = _Frames(scored, shape, seed)
    counts, mapping_counts = confusion_counts(scored, shape), confusion_counts(mapped, shape)
    spoken = np.ones(shape)
    if silence is not None and silence < shape[1]:
        spoken[:, silence] = 0
    everything, heard = np.ones(shape), mapping_counts * spoken
    phone_nats, unit_nats = _nats(counts.sum(0, keepdims=True)), _nats(counts.sum(1, keepdims=True))
    shared_nats = np.where(counts > 0, phone_nats + unit_nats - _nats(counts), 0)
    return ClusterScores(
        confusion=counts,
        accuracy=frames.ratio(_by_unit(mapping_counts), everything),
        accuracy_without_silence=frames.ratio(_by_unit(heard) * spoken, spoken),
        commonest=frames.ratio(_by_unit(mapping_counts.sum(0, keepdims=True)), everything),
        commonest_without_silence=frames.ratio(_by_unit(heard.sum(0, keepdims=True)) * spoken, spoken),
        phone_purity=frames.ratio(_by_unit(counts), everything),
        cluster_purity=frames.ratio(_by_unit(counts.T).T, everything),
        pnmi=frames.ratio(shared_nats, phone_nats),
        nmi=frames.ratio(2 * shared_nats, phone_nats + unit_nats),
    )


def confusion_counts(recordings: Sequence[LabelledUnits], shape: tuple[int, int] | None = None) -> np.ndarray:
    """Labelled frames by unit and phone, int64 `[units, phones]`; `shape` is that of the numbers seen, if not given."""
    num_units, num_phones = shape or _table_shape(recordings)
    counts = np.zeros(num_units * num_phones, dtype=np.int64)
    for recording in (recording.known for recording in recordings):
        counts += np.bincount(recording.units * num_phones + recording.labels, minlength=len(counts))
    return counts.reshape(num_units, num_phones)


class _Frames:
    """The labelled frames of all recordings, which every score is a mean over."""

    def __init__(self, recordings: Sequence[LabelledUnits], shape: tuple[int, int], seed: int) -> None:
        self._recordings = recordings
        self._shape = shape
        self._seed = seed

    def ratio(self, above: np.ndarray, below: np.ndarray) -> Interval | None:
        """Sum over frames of `above` through that of `below`, tables that broadcast to `[units, phones]`."""
        return pooled_ratio(self._totals(above), self._totals(below), seed=self._seed)

    def _totals(self, table: np.ndarray) -> np.ndarray:
        values = np.broadcast_to(table, self._shape)
        return np.array([values[recording.units, recording.labels].sum() for recording in self._recordings])


def _table_shape(recordings: Sequence[LabelledUnits]) -> tuple[int, int]:
    units = 1 + max((int(recording.units.max()) for recording in recordings if len(recording.units)), default=-1)
    phones = 1 + max((int(recording.labels.max()) for recording in recordings if len(recording.labels)), default=-1)
    return units, phones


def _by_unit(counts: np.ndarray) -> np.ndarray:
    """1 where a column is the commonest of its row, the first of equals, else 0; rows of zeros have none."""
    best = np.zeros(counts.shape)
    rows = np.flatnonzero(counts.any(axis=1))
    best[rows, counts[rows].argmax(axis=1)] = 1
    return best


def _nats(counts: np.ndarray) -> np.ndarray:
    """-ln of the share of each count, 0 for what does not occur."""
    return np.where(counts > 0, np.log(counts.sum()) - np.log(np.maximum(counts, 1)), 0.0)
