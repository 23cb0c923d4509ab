"""The search is exact, wherever the data lies and however it is cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from codec.quantize import lookup
from codec.quantize.lookup import nearest
from tests.references import vector_quantizer as reference


@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 40),
    size=st.integers(1, 20),
    dim=st.integers(1, 9),
    offset=st.sampled_from([0.0, 1000.0, -3e4]),
)
def test_search_finds_the_entry_that_float64_brute_force_finds(
    seed: int, rows: int, size: int, dim: int, offset: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    data = torch.randn(rows, dim, generator=generator) + offset
    codebook = torch.randn(size, dim, generator=generator) + offset
    exact, entries = data.double().numpy(), codebook.double().numpy()
    wanted = reference.nearest(exact, entries)
    found = nearest(data, codebook).numpy()
    # Float32 may choose between entries whose distances agree to its rounding error; nothing else.
    worse = ((exact - entries[found]) ** 2).sum(1) - ((exact - entries[wanted]) ** 2).sum(1)
    assert np.all(worse <= 1e-4)


def test_common_offset_of_1000_changes_no_code_of_separate_clusters() -> None:
    codebook = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    data = codebook.repeat(20, 1) + 0.01 * torch.randn(1280, 16, generator=torch.Generator().manual_seed(1))
    assert torch.equal(nearest(data + 1000, codebook + 1000), torch.arange(64).repeat(20))


def test_chunks_of_rows_do_not_change_the_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    data = torch.randn(1000, 8, generator=torch.Generator().manual_seed(0))
    codebook = torch.randn(50, 8, generator=torch.Generator().manual_seed(1))
    whole = nearest(data, codebook)
    monkeypatch.setattr(lookup, "CPU_ROWS", 7)
    assert torch.equal(nearest(data, codebook), whole)


def test_excluded_entries_are_never_found() -> None:
    codebook = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    excluded = torch.arange(10) % 2 == 0
    assert torch.equal(nearest(codebook[1::2], codebook, excluded=excluded), torch.arange(1, 10, 2))
    assert bool((nearest(codebook, codebook, excluded=excluded) % 2 == 1).all())


def test_bfloat16_vectors_are_searched_in_float32() -> None:
    data = torch.randn(500, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    codebook = torch.randn(50, 8, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        found = nearest(data, codebook)
    assert torch.equal(found, nearest(data.float(), codebook))


def test_search_records_no_gradient() -> None:
    data, codebook = torch.randn(5, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    assert not nearest(data, codebook).requires_grad


def test_no_distance_matrix_beyond_a_chunk_is_held() -> None:
    data, codebook = torch.randn(20_000, 4), torch.randn(4096, 4)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        nearest(data, codebook)
    largest = max(abs(event.self_cpu_memory_usage) for event in profile.events() or [])
    assert largest <= 4 * lookup.CPU_CELLS
