"""Claims about the bytes of a chunk's codes and of a plane of transparency."""

from __future__ import annotations

import contextlib
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.entropy import packed_size
from codec.files.alpha import pack_alpha, unpack_alpha
from codec.files.method import Method
from codec.files.payload import ChunkCoder

SKEWED = [1 + 2**index for index in range(32)]


@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=3),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
@settings(deadline=None)
def test_codes_of_every_level_come_back(rows: int, levels: list[tuple[int, int, int]], seed: int, skewed: bool) -> None:
    rng = np.random.default_rng(seed)
    shapes = [(rows, *level) for level in levels]
    coder = ChunkCoder([np.array([SKEWED if skewed else [1] * 32] * shape[1]) for shape in shapes])
    codes = tuple(rng.integers(0, 32, shape) for shape in shapes)
    data, method = coder.encode(codes)
    for back, level in zip(coder.decode(data, method, shapes), codes, strict=True):
        np.testing.assert_array_equal(back, level)


def test_codes_that_do_not_follow_the_histogram_are_packed() -> None:
    coder = ChunkCoder([np.array([SKEWED])])
    codes = np.tile([1, 2], 50).reshape(1, 1, 100)  # rare codes, all the time
    data, method = coder.encode((codes,))
    assert method is Method.PACKED
    assert len(data) == packed_size([(100, 32)])


def test_fewer_active_codebooks_than_the_model_has_are_coded() -> None:
    coder = ChunkCoder([np.array([SKEWED] * 4)])
    codes = np.arange(60).reshape(1, 2, 30) % 32
    data, method = coder.encode((codes,))
    np.testing.assert_array_equal(coder.decode(data, method, [codes.shape])[0], codes)


@given(st.binary(max_size=100), st.sampled_from([Method.COUNTED, Method.PACKED]))
@settings(deadline=None)
def test_any_bytes_give_valid_codes_or_an_error(data: bytes, method: Method) -> None:
    coder = ChunkCoder([np.array([SKEWED[:19]] * 2)])
    with contextlib.suppress(ValueError):
        (codes,) = coder.decode(data, method, [(1, 2, 50)])
        assert codes.shape == (1, 2, 50)
        assert 0 <= codes.min() <= codes.max() < 19


PLANES = [
    np.full((7, 5), 200, dtype=np.uint8),
    np.tile(np.arange(90, dtype=np.uint8), (40, 1)),
    np.tile(np.arange(90, dtype=np.uint8)[:, None], (1, 40)),
    np.random.default_rng(0).integers(0, 256, (33, 21), dtype=np.uint8),
    np.array([[3]], dtype=np.uint8),
]


@pytest.mark.parametrize("plane", PLANES, ids=["constant", "columns", "rows", "noise", "one pixel"])
def test_transparency_comes_back_without_loss(plane: np.ndarray) -> None:
    np.testing.assert_array_equal(unpack_alpha(pack_alpha(plane), *plane.shape), plane)


def test_constant_transparency_takes_two_bytes() -> None:
    assert len(pack_alpha(np.full((3000, 4000), 255, dtype=np.uint8))) == 2


@pytest.mark.parametrize("plane", PLANES[1:4])
def test_bytes_cut_or_added_to_transparency_are_refused(plane: np.ndarray) -> None:
    data = pack_alpha(plane)
    for wrong in (*(data[:length] for length in range(len(data))), data + b"\0"):
        with pytest.raises(ValueError, match=r"its (data|method)"):
            unpack_alpha(wrong, *plane.shape)


def test_a_deflate_bomb_is_not_inflated() -> None:
    bomb = bytes([1]) + zlib.compress(bytes(50_000_000), 9)
    tracemalloc.start()
    with pytest.raises(ValueError, match="length"):
        unpack_alpha(bomb, 10, 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
