"""How many bits a second units carry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codec.core.errors import UserError
from codec.eval.interval import Interval
from codec.eval.pooled import pooled_ratio


@dataclass(frozen=True)
class UnitBitrate:
    """Bits a second of units.

    Attributes:
        bits_per_second: `units_per_second` times `entropy_bits`; its interval is over recordings, with the
            frequencies of units held as they are.
        units_per_second: all units over all seconds.
        entropy_bits: of the frequencies of units in all recordings together, in bits a unit.
    """

    bits_per_second: Interval
    units_per_second: float
    entropy_bits: float


def unit_bitrate(sequences: Sequence[np.ndarray], *, durations_s: Sequence[float], seed: int = 0) -> UnitBitrate:
    """Bitrate N / D * H of the ZeroSpeech challenges (Dunbar et al. 2019, section on bitrate).

    N is the number of units, D the seconds and H the entropy of the frequencies of units, all three of all recordings
    together.

    Args:
        sequences: the units, integers `[units]`, of each recording, as they are given: of every frame, or of every run
            (`codec.core.runs`), whose lengths then cost nothing.
        durations_s: seconds of each recording.

    Raises:
        UserError: no sequences, not one duration above 0 for each, or sequences of more than one dimension.
    """
    durations = np.array(durations_s, dtype=np.float64)
    if not len(sequences) or len(durations) != len(sequences) or not (durations > 0).all():
        raise UserError(
            f"{len(sequences)} sequences with durations_s of {len(durations)}: give every one its seconds, above 0"
        )
    if any(sequence.ndim != 1 for sequence in sequences):
        raise UserError("units must be one sequence a recording: take one codebook, or number the combinations")
    places, counts = np.unique(np.concatenate(sequences), return_inverse=True, return_counts=True)[1:]
    bits = np.log2(max(counts.sum(), 1)) - np.log2(counts)
    recordings = np.repeat(np.arange(len(sequences)), [len(sequence) for sequence in sequences])
    totals = np.bincount(recordings, weights=bits[places], minlength=len(sequences))
    rate = pooled_ratio(totals, durations, seed=seed)
    assert rate is not None, "durations are above 0"
    return UnitBitrate(rate, len(places) / float(durations.sum()), float(totals.sum()) / max(len(places), 1))
