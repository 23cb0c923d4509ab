"""How far two items are from each other: by dynamic time warping of their frames, or by the edits of their symbols.

The best path of the warping goes from the first frames to the last by steps of one frame in either item or in both, and
its distance is the sum of the distances of the frames on it, divided by their number. Of paths that cost the same it
takes, from the end, the step in both items, else that to the shorter path. This is the warping of ZeroSpeech
(Schatz et al. 2013; Versteegh et al. 2015), where the last of these ties depends on which item is called the first.

Distances of frames are rounded to multiples of 2**-24, which is what float32 keeps of them. Sums of them are exact, so
that what is equal is equal on any machine, and a tie is a tie.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codec.entropy.compiled import compiled

Reals = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
_GRID = float(1 << 24)
_FLOOR = float(np.finfo(np.float64).eps)  # of probabilities, as ZeroSpeech's


@dataclass(frozen=True)
class Distance:
    """A distance of items.

    Attributes:
        dims: of the features of a recording: 2 for `[frames, d]`, 1 for symbols `[frames]`.
        between: takes the frames of the items one after another, where each begins and the last ends `[items + 1]`, and
            pairs of items `[pairs, 2]`; gives the distances `[pairs]`.
        prepare: what is done to the frames of an item first.
        signed: whether features may be negative.
    """

    dims: int
    prepare: Callable[[npt.NDArray], npt.NDArray]
    between: Callable[[npt.NDArray, Integers, Integers], Reals]
    signed: bool = True


def pair_distances(distance: Distance, items: Sequence[npt.NDArray], pairs: Integers) -> Reals:
    """Distances `[pairs]` of the items that `pairs` `[pairs, 2]` names; each item is its frames `[frames, ...]`."""
    prepared = [distance.prepare(frames) for frames in items]
    starts = np.cumsum([0, *(len(frames) for frames in prepared)], dtype=np.int64)
    return distance.between(np.concatenate(prepared), starts, pairs)


def _directions(frames: npt.NDArray) -> Reals:
    """Frames of length 1; silence, which has no direction, gets one of its own in an added dimension."""
    values = frames.astype(np.float64)
    largest = np.abs(values).max(axis=1, keepdims=True, initial=0)
    silent = largest == 0
    values = values / np.where(silent, 1, largest)  # their squares neither vanish nor overflow
    lengths = np.sqrt((values**2).sum(axis=1, keepdims=True))
    return np.concatenate([values / np.where(silent, 1, lengths), silent], axis=1)


def _probabilities(frames: npt.NDArray) -> Reals:
    """Frames that sum to 1 and have no zeros; one that is all zeros is uniform."""
    values = frames.astype(np.float64)
    sums = values.sum(axis=1, keepdims=True)
    floored = values / np.where(sums == 0, 1, sums) + _FLOOR
    return floored / floored.sum(axis=1, keepdims=True)


def _runs(symbols: npt.NDArray) -> Integers:
    """The symbols, those that repeat the one before left out."""
    return symbols[np.concatenate([[True], symbols[1:] != symbols[:-1]])].astype(np.int64)


def _angles_between(frames: Reals, starts: Integers, pairs: Integers) -> Reals:
    return _warped_angles(frames, np.ascontiguousarray(frames.T), starts, pairs)


def _divergences_between(frames: Reals, starts: Integers, pairs: Integers) -> Reals:
    logs = np.log(frames)
    across = np.ascontiguousarray(frames.T), np.ascontiguousarray(logs.T)
    return _warped_divergences(frames, logs, *across, starts, pairs)


@compiled
def _warped_angles(frames, across, starts, pairs):
    found = np.empty(len(pairs))
    longest = np.max(starts[1:] - starts[:-1])
    costs, sums, lengths = np.empty((longest, longest)), np.empty(longest), np.empty(longest, np.int64)
    scale = _GRID / math.pi
    for index in range(len(pairs)):
        one, other = pairs[index]
        rows, columns = starts[one + 1] - starts[one], starts[other + 1] - starts[other]
        for row in range(rows):
            line = costs[row, :columns]
            line[:] = 0
            for k in range(frames.shape[1]):
                weight = frames[starts[one] + row, k]
                column_values = across[k, starts[other] : starts[other + 1]]
                for column in range(columns):
                    line[column] += weight * column_values[column]
            for column in range(columns):
                line[column] = np.rint(math.acos(min(max(line[column], -1.0), 1.0)) * scale)
        found[index] = _warp(costs, rows, columns, sums, lengths)
    return found


@compiled
def _warped_divergences(frames, logs, across, logs_across, starts, pairs):
    found = np.empty(len(pairs))
    longest = np.max(starts[1:] - starts[:-1])
    costs, sums, lengths = np.empty((longest, longest)), np.empty(longest), np.empty(longest, np.int64)
    for index in range(len(pairs)):
        one, other = pairs[index]
        rows, columns = starts[one + 1] - starts[one], starts[other + 1] - starts[other]
        for row in range(rows):
            line = costs[row, :columns]
            line[:] = 0
            for k in range(frames.shape[1]):
                ours, log = frames[starts[one] + row, k], logs[starts[one] + row, k]
                theirs = across[k, starts[other] : starts[other + 1]]
                their_logs = logs_across[k, starts[other] : starts[other + 1]]
                for column in range(columns):
                    line[column] += (ours - theirs[column]) * (log - their_logs[column])
            for column in range(columns):
                line[column] = np.rint(0.5 * line[column] * _GRID)
        found[index] = _warp(costs, rows, columns, sums, lengths)
    return found


@compiled
def _warp(costs, rows, columns, sums, lengths):
    """The distance along the best path through `costs`; `sums` and `lengths` are room for one row of them."""
    sums[0], lengths[0] = costs[0, 0], 1
    for column in range(1, columns):
        sums[column], lengths[column] = sums[column - 1] + costs[0, column], column + 1
    for row in range(1, rows):
        corner, corner_length = sums[0], lengths[0]
        sums[0], lengths[0] = corner + costs[row, 0], row + 1
        for column in range(1, columns):
            best, length = sums[column], lengths[column]
            left, left_length = sums[column - 1], lengths[column - 1]
            above, above_length = best, length
            if left < best or (left == best and left_length < length):
                best, length = left, left_length
            if corner <= best:
                best, length = corner, corner_length
            sums[column], lengths[column] = best + costs[row, column], length + 1
            corner, corner_length = above, above_length
    return sums[columns - 1] / lengths[columns - 1] / _GRID


@compiled
def _edits_between(symbols, starts, pairs):
    """Edits (Levenshtein 1966), divided by the length of the longer item."""
    found = np.empty(len(pairs))
    edits = np.empty(np.max(starts[1:] - starts[:-1]) + 1, np.int64)
    for index in range(len(pairs)):
        one, other = pairs[index]
        ours, theirs = symbols[starts[one] : starts[one + 1]], symbols[starts[other] : starts[other + 1]]
        for column in range(len(theirs) + 1):
            edits[column] = column
        for row in range(len(ours)):
            corner, edits[0] = edits[0], row + 1
            for column in range(len(theirs)):
                changed = corner + (ours[row] != theirs[column])
                corner = edits[column + 1]
                edits[column + 1] = min(changed, corner + 1, edits[column] + 1)
        found[index] = edits[len(theirs)] / max(len(ours), len(theirs))
    return found


DISTANCES = {
    "angular": Distance(2, _directions, _angles_between),
    "kl": Distance(2, _probabilities, _divergences_between, signed=False),
    "edit": Distance(1, _runs, _edits_between),
}
"""By name: the angle of frames over pi; the mean of their two Kullback-Leibler divergences, in nats; edits."""
