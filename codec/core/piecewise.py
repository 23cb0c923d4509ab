"""Where something that moves in steps moves: the best piecewise constant approximation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from codec.core.errors import UserError


def piece_starts(frames: npt.ArrayLike, *, penalty: float, longest: int = 40) -> npt.NDArray[np.bool_]:
    """Which of `frames` `[n, d]` begin a piece, when each piece stands for its mean.

    The sum of squared distances of frames to the mean of their piece + `penalty` * number of pieces is least, by
    dynamic programming (optimal partitioning; Jackson et al. 2005). Of cuts that cost the same the longer last piece is
    taken.

    Args:
        penalty: in squared distance.
        longest: frames of a piece at most.

    Raises:
        UserError: not two axes, numbers that are not finite, a negative penalty, or pieces without frames.
    """
    values = np.asarray(frames, dtype=np.float64)
    if values.ndim != 2:
        raise UserError(f"frames have shape {list(values.shape)}, not [n, d]: give one row a frame")
    if not np.isfinite(values).all():
        raise UserError("frames hold NaN or infinity: look at the signal")
    if len(values):
        values = values - values.mean(axis=0)  # or squares would lose what frames differ in
    if not 0 <= penalty < np.inf or longest < 1:
        raise UserError(f"penalty={penalty}, longest={longest}: a penalty from 0, and at least 1 frame, are wanted")
    sums = np.concatenate([np.zeros((1, values.shape[1])), values.cumsum(axis=0)])
    squares = np.concatenate([[0.0], (values**2).sum(axis=1).cumsum()])
    least, began = np.zeros(len(values) + 1), np.zeros(len(values) + 1, dtype=np.int64)
    for stop in range(1, len(values) + 1):
        starts = np.arange(max(0, stop - longest), stop)
        spread = squares[stop] - squares[starts] - ((sums[stop] - sums[starts]) ** 2).sum(axis=1) / (stop - starts)
        costs = least[starts] + spread
        best = int(costs.argmin())
        least[stop], began[stop] = costs[best] + penalty, starts[best]
    begins, stop = np.zeros(len(values), dtype=bool), len(values)
    while stop > 0:
        stop = began[stop]
        begins[stop] = True
    return begins
