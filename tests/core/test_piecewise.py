"""Pieces of the best piecewise constant approximation, against all ways of cutting."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from codec.core.errors import UserError
from codec.core.piecewise import piece_starts


def _cost(frames, begins, penalty):
    pieces = np.split(frames, np.flatnonzero(begins)[1:])
    return sum(((piece - piece.mean(axis=0)) ** 2).sum() + penalty for piece in pieces)


@given(
    arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(1, 2)), elements=st.integers(-3, 3)),
    st.sampled_from([0.0, 0.5, 2.0, 9.0]),
    st.integers(1, 9),
)
def test_no_way_of_cutting_costs_less(frames, penalty, longest):
    ways = [np.array([True, *cuts]) for cuts in product([True, False], repeat=len(frames) - 1)]
    allowed = [way for way in ways if np.diff(np.append(np.flatnonzero(way), len(frames))).max() <= longest]
    begins = piece_starts(frames, penalty=penalty, longest=longest)
    assert any((begins == way).all() for way in allowed)
    assert _cost(frames, begins, penalty) == pytest.approx(
        min(_cost(frames, way, penalty) for way in allowed), abs=1e-9
    )


def test_steps_are_found_and_nothing_has_no_pieces():
    steps = np.repeat([[0.0], [5.0], [1.0]], [7, 4, 9], axis=0)
    noisy = steps + 0.1 * np.random.default_rng(0).standard_normal(steps.shape)
    assert np.flatnonzero(piece_starts(noisy, penalty=1.0)).tolist() == [0, 7, 11]
    assert piece_starts(np.zeros((0, 3)), penalty=1.0).shape == (0,)


@pytest.mark.parametrize(
    ("frames", "settings", "named"),
    [
        (np.zeros(3), {"penalty": 1.0}, r"not \[n, d\]"),
        (np.full((3, 1), np.nan), {"penalty": 1.0}, r"NaN or infinity"),
        (np.zeros((3, 1)), {"penalty": -1.0}, r"penalty=-1.0"),
        (np.zeros((3, 1)), {"penalty": float("inf")}, r"penalty=inf"),
        (np.zeros((3, 1)), {"penalty": 1.0, "longest": 0}, r"longest=0"),
    ],
)
def test_what_cannot_be_cut_is_refused(frames, settings, named):
    with pytest.raises(UserError, match=named):
        piece_starts(frames, **settings)
