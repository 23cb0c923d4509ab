"""Runs of equal units: a sequence without its repetitions, and where each run lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codec.core.errors import UserError


@dataclass(frozen=True, eq=False)
class Runs:
    """The runs of a sequence, in order; they tile its frames.

    Attributes:
        units: the value of every run `[runs]`; neighbours differ.
        starts: first frame of every run, int64 `[runs]`.
        stops: the frame after its last, int64 `[runs]`.
    """

    units: np.ndarray
    starts: np.ndarray
    stops: np.ndarray

    def expand(self) -> np.ndarray:
        """The sequence `[frames]` that these are the runs of."""
        return np.repeat(self.units, self.stops - self.starts)


def find_runs(units: np.ndarray) -> Runs:
    """Runs of equal neighbours of `units` `[frames]`; `expand` gives it back.

    Raises:
        UserError: `units` has not one dimension.
    """
    if units.ndim != 1:
        raise UserError(f"runs are found in one sequence [frames], not in shape {units.shape}: take one codebook")
    changes = np.flatnonzero(units[1:] != units[:-1]) + 1
    edges = np.concatenate([[0] if len(units) else [], changes, [len(units)]]).astype(np.int64)
    return Runs(units[edges[:-1]], edges[:-1], edges[1:])
