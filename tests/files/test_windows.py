"""Claims about windows: the right slice, and never more in memory than one slice needs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.files.header import AudioHeader, Header, LevelHeader, PictureHeader
from codec.files.windows import CodeWindow, SignalWindow, Tape


@given(st.integers(1, 50), st.integers(1, 40), st.lists(st.integers(0, 30), min_size=1, max_size=30))
@settings(deadline=None)
def test_slices_of_a_stream_are_those_of_the_whole_in_bounded_memory(block: int, width: int, steps: list[int]) -> None:
    starts = np.cumsum(steps).tolist()
    whole = torch.arange(2 * (starts[-1] + width)).reshape(2, -1).float()
    window = SignalWindow(iter(whole.split(block, dim=1)))
    for start in starts:
        assert torch.equal(window.take(slice(start, start + width)), whole[:, start : start + width])
        assert sum(part.shape[1] for part in window._tape.blocks) < width + block


@given(st.lists(st.integers(0, 40), max_size=30), st.data())
@settings(deadline=None)
def test_a_tape_holds_what_it_is_told_in_few_blocks_and_never_changes(lengths: list[int], data: st.DataObject) -> None:
    whole, tape, before = torch.arange(sum(lengths)), Tape(), 0
    for block in whole.split(lengths):
        longer = tape.plus(block)
        assert (tape.stop, longer.stop) == (before, before + len(block))
        start = data.draw(st.integers(tape.start, longer.stop))
        tape, before = longer.since(start), longer.stop
        assert tape.start == start and sum(map(len, tape.blocks)) == tape.stop - start
        assert len(tape.blocks) <= len(whole).bit_length() + 1
        if start < tape.stop:
            part = slice(data.draw(st.integers(start, tape.stop - 1)), tape.stop)
            assert torch.equal(tape.read(part), whole[part])
            assert torch.equal(longer.read(part), whole[part])


def test_a_stream_that_ends_early_is_noticed() -> None:
    with pytest.raises(EOFError, match="sample 3"):
        SignalWindow(iter([torch.zeros(1, 3)])).take(slice(0, 4))


@given(st.integers(1, 14), st.integers(1, 14), st.integers(1, 9), st.integers(0, 5))
@settings(deadline=None, max_examples=30)
def test_windows_of_codes_are_those_of_the_whole_and_rows_above_are_forgotten(
    height: int, width: int, step: int, context: int
) -> None:
    levels = (LevelHeader(8, 100, 1), LevelHeader(4, 100, 2))
    media = PictureHeader(width * 8 - 3, height * 8 - 3)
    header = Header("m", "0" * 16, media, 1, levels, (min(step, height), min(step, width)))
    rng = np.random.default_rng(0)
    whole = (rng.integers(0, 100, (1, 1, height, width)), rng.integers(0, 100, (1, 2, 2 * height, 2 * width)))
    loads: list[int] = []

    def load(index: int) -> tuple[np.ndarray, ...]:
        loads.append(index)
        cell = header.cell(index)
        return tuple(
            codes[(..., *(slice(part.start * ratio, part.stop * ratio) for part in cell))]
            for ratio, codes in enumerate(whole, start=1)
        )

    window = CodeWindow(header, load)
    for index in range(header.num_chunks):
        cell = header.cell(index)
        source = tuple(
            slice(max(0, part.start - context), min(part.stop + context, extent))
            for part, extent in zip(cell, (height, width), strict=True)
        )
        coarse, fine = window.take(source)[0]
        assert torch.equal(coarse, torch.from_numpy(whole[0][(..., *source)]))
        doubled = tuple(slice(2 * part.start, 2 * part.stop) for part in source)
        assert torch.equal(fine, torch.from_numpy(whole[1][(..., *doubled)]))
        bands = -(-(step + 2 * context) // step) + 1
        assert len(window._held) <= bands * header.grid[1]
    assert sorted(loads) == list(range(header.num_chunks))  # each chunk was read once


def test_an_hour_of_sound_needs_a_few_chunks_of_codes_at_a_time() -> None:
    header = Header("m", "0" * 16, AudioHeader(8000, 28_800_000, 1, 8000), 1, (LevelHeader(320, 8, 1),), (400,))
    window = CodeWindow(header, lambda index: tuple(np.zeros(shape, np.int64) for shape in header.shapes(index)))
    for index in range(header.num_chunks):
        (part,) = header.cell(index)
        window.take((slice(max(0, part.start - 20), min(part.stop + 20, header.codes_size[0])),))
        assert len(window._held) <= 3
