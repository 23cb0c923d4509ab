from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from codec.core.errors import UserError
from codec.core.segmentation import segment
from tests.references.vector_quantizer import nearest

NUMBERS = st.floats(-4, 4, width=32)


def total(runs, vectors, codebook, penalty):
    return ((vectors - codebook[runs.expand()]) ** 2).sum() + penalty * len(runs.units)


def least_total(vectors, codebook, penalty):
    """By trying all ways to cut, and all codes for each segment."""
    totals = []
    for cuts in product([False, True], repeat=max(len(vectors) - 1, 0)):
        edges = [0, *(place for place, cut in enumerate(cuts, 1) if cut), len(vectors)]
        spans = [vectors[start:stop] for start, stop in pairwise(edges)]
        totals.append(sum(min(((span - code) ** 2).sum() for code in codebook) + penalty for span in spans))
    return min(totals)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(1, 7), st.integers(1, 4), st.floats(0, 20))
def test_the_total_is_the_least_of_all_segmentations(data, num_frames, num_codes, penalty):
    vectors = data.draw(arrays(np.float64, (num_frames, 2), elements=NUMBERS))
    codebook = data.draw(arrays(np.float64, (num_codes, 2), elements=NUMBERS))
    runs = segment(vectors, codebook, penalty=penalty)
    assert runs.stops[-1] == num_frames
    assert total(runs, vectors, codebook, penalty) == pytest.approx(least_total(vectors, codebook, penalty), abs=1e-9)


def test_without_a_penalty_codes_are_the_nearest():
    generator = np.random.default_rng(0)
    vectors, codebook = generator.standard_normal((200, 3)), generator.standard_normal((16, 3))
    assert segment(vectors, codebook, penalty=0).expand().tolist() == nearest(vectors, codebook).tolist()


def test_a_penalty_removes_what_is_short_and_a_great_one_leaves_one_segment():
    vectors = np.repeat([[0.0], [1.0], [0.0], [1.0]], [10, 1, 10, 12], axis=0)
    codebook = np.array([[0.0], [1.0]])
    assert segment(vectors, codebook, penalty=0).stops.tolist() == [10, 11, 21, 33]
    assert segment(vectors, codebook, penalty=0.6).stops.tolist() == [21, 33]
    assert segment(vectors, codebook, penalty=1e6).units.tolist() == [0]


def test_a_greater_penalty_never_gives_more_segments():
    generator = np.random.default_rng(1)
    vectors, codebook = generator.standard_normal((300, 4)), generator.standard_normal((20, 4))
    numbers = [len(segment(vectors, codebook, penalty=penalty).units) for penalty in (0, 0.5, 1, 2, 4, 8, 100)]
    assert numbers == sorted(numbers, reverse=True) and numbers[0] > numbers[3] > numbers[-1]


def test_no_frames_have_no_segments():
    assert len(segment(np.empty((0, 2)), np.zeros((3, 2)), penalty=1.0).units) == 0


def test_mistakes_are_told():
    with pytest.raises(UserError, match=r"give \[frames, d\]"):
        segment(np.zeros((4, 2)), np.zeros((3, 1)), penalty=1.0)
    with pytest.raises(UserError, match="penalty=-1"):
        segment(np.zeros((4, 2)), np.zeros((3, 2)), penalty=-1)
    with pytest.raises(UserError, match="finite"):
        segment(np.full((4, 2), np.nan), np.zeros((3, 2)), penalty=1.0)
