"""The search is exact, wherever the data lies, however it is cut, and whichever way it is done."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from codec.quantize import lookup, search_cpu
from codec.quantize.lookup import best_match, nearest
from tests.references import vector_quantizer as reference

Search = Callable[[Tensor, Tensor, Tensor], Tensor]
SEARCHES = [search_cpu.least, search_cpu._by_product, search_cpu._by_shortlist, lookup._by_chunks]
each_search = pytest.mark.parametrize("search", SEARCHES)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def excess(rows: Tensor, table: Tensor, offset: Tensor, found: Tensor) -> np.ndarray:
    """How far the score of what was found is above the least, by float64, in rounding errors of a float32 score."""
    x, t, o = rows.double().numpy(), table.double().numpy(), offset.double().numpy()
    scores = o - x @ t.T
    largest = np.linalg.norm(x, axis=1) * np.linalg.norm(t, axis=1).max() + np.abs(o[np.isfinite(o)]).max()
    return (scores[np.arange(len(x)), found.numpy()] - scores.min(1)) / (2**-24 * (t.shape[1] + 1) * largest)


@pytest.fixture
def shortlist(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every search goes by shortlist; gives the numbers of rows that were then left to float32."""
    left: list[int] = []
    by_product = search_cpu._by_product

    def counted(rows: Tensor, table: Tensor, offset: Tensor) -> Tensor:
        left.append(rows.shape[0])
        return by_product(rows, table, offset)

    monkeypatch.setattr(search_cpu, "least", search_cpu._by_shortlist)
    monkeypatch.setattr(search_cpu, "_by_product", counted)
    return left


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


@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 100),
    size=st.integers(1, 300),
    dim=st.integers(1, 40),
    spread=st.sampled_from([1.0, 1e-2, 1e-4, 1e-7]),  # of the entries around one point, down to many near-ties
    decades=st.sampled_from([0, 3, 12]),  # of magnitude, over rows, entries and channels
    height=st.sampled_from([0.0, 1.0, 1e4, -1e4]),  # of the offsets
    excluded=st.booleans(),
)
def test_every_search_finds_the_least_score_to_a_rounding_error_of_float32(
    seed: int, rows: int, size: int, dim: int, spread: float, decades: int, height: float, excluded: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        magnitude = 10.0 ** (decades * (torch.rand(shape, generator=generator) - 0.5))
        return torch.randn(*shape, generator=generator) * magnitude

    data, table = draw(rows, dim), draw(1, dim) + spread * draw(size, dim)
    offset = height * (1 + spread * torch.randn(size, generator=generator))
    if excluded:
        offset[1::2] = float("inf")
    for search in SEARCHES:
        found = search(data, table, offset)
        assert torch.isfinite(offset[found]).all()
        # Each of the two scores that were compared may be off by what a sum of D + 1 products is in float32.
        assert excess(data, table, offset, found).max() <= 2


@each_search
@pytest.mark.parametrize(
    ("rows", "dim", "size"),
    [(0, 3, 5), (3, 4, 1), (5, 1, 3), (40, 8, 63), (40, 8, 65), (20, 16, 5003), (3, 2, 262_144)],
)
def test_every_shape_can_be_searched(search: Search, rows: int, dim: int, size: int) -> None:
    data, table, offset = normal(rows, dim), normal(size, dim, seed=1), normal(size, seed=2)
    found = search(data, table, offset)
    assert found.shape == (rows,) and found.dtype == torch.int64
    assert rows == 0 or excess(data, table, offset, found).max() <= 2


@each_search
def test_first_of_equal_entries_is_found(search: Search) -> None:
    data, table = normal(300, 32), normal(200, 32, seed=1)
    offset = table.square().sum(1) / 2
    alone = search(data, table, offset)
    assert torch.equal(search(data, table.repeat(3, 1), offset.repeat(3)), alone)
    assert torch.equal(search(data, table[:1].repeat(500, 1), offset[:1].repeat(500)), torch.zeros_like(alone))


@each_search
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_row_that_is_no_number_gets_some_index_and_spoils_no_other_row(search: Search, bad: float) -> None:
    data, table, offset = normal(300, 32), normal(300, 32, seed=1), normal(300, seed=2)
    spoilt = data.clone()
    spoilt[::7, 3] = bad
    found, whole = search(spoilt, table, offset), search(data, table, offset)
    assert ((found >= 0) & (found < 300)).all()
    fine = torch.arange(300) % 7 != 0
    assert torch.equal(found[fine], whole[fine])
    everywhere = search(data, torch.full_like(table, bad), offset)
    assert ((everywhere >= 0) & (everywhere < 300)).all()


def test_shortlist_leaves_hardly_a_row_of_plain_data_to_float32(shortlist: list[int]) -> None:
    codebook = normal(1024, 64)
    near = codebook.repeat(4, 1) + 0.1 * normal(4096, 64, seed=1)
    for data in (normal(4096, 64, seed=2), near):
        for mean in (0.0, 1000.0):
            nearest(data + mean, codebook + mean)
    assert sum(shortlist) <= 0.01 * 4 * 4096


def test_rows_with_too_long_a_shortlist_are_searched_in_float32(shortlist: list[int]) -> None:
    codebook = torch.cat((normal(200, 32), 1 + 1e-5 * normal(200, 32, seed=1)))
    data = torch.cat((codebook[:200], torch.ones(50, 32)))  # nothing in bfloat16 tells 200 entries from the last rows
    found = nearest(data, codebook)
    assert shortlist == [50]
    assert torch.equal(found[:200], torch.arange(200)) and (found[200:] >= 200).all()


def test_shortlist_gives_each_row_the_same_code_in_any_company(shortlist: list[int]) -> None:
    codebook = normal(500, 32)
    codebook[250:] = codebook[:250] + 1e-6 * normal(250, 32, seed=1)
    data, order = normal(2000, 32, seed=2), torch.randperm(2000, generator=torch.Generator().manual_seed(3))
    whole = nearest(data, codebook)
    assert torch.equal(nearest(data[order], codebook), whole[order])
    assert torch.equal(torch.cat([nearest(chunk, codebook) for chunk in data.split(17)]), whole)
    assert sum(shortlist) <= 6  # rows left to float32: nearly all are the shortlist's


@pytest.mark.parametrize("fast_bfloat16", [False, True])
def test_shortlist_is_made_only_of_much_data_and_where_bfloat16_is_fast(
    monkeypatch: pytest.MonkeyPatch, fast_bfloat16: bool
) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(search_cpu, "_has_fast_bfloat16", lambda: fast_bfloat16)
    monkeypatch.setattr(
        search_cpu, "_by_shortlist", lambda *given: sizes.append(len(given[0])) or given[0][:, 0].long()
    )
    monkeypatch.setattr(search_cpu, "MANY", 1 << 24)
    codebook = normal(1024, 32)
    nearest(normal(100, 32), codebook)
    nearest(normal(600, 32), codebook)
    assert sizes == [600] * fast_bfloat16


def test_common_offset_of_1000_changes_no_code_of_separate_clusters() -> None:
    codebook = normal(64, 16)
    data = codebook.repeat(20, 1) + 0.01 * normal(1280, 16, seed=1)
    assert torch.equal(nearest(data + 1000, codebook + 1000), torch.arange(64).repeat(20))


@each_search
def test_chunks_of_rows_do_not_change_the_codes(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    data, table, offset = normal(1000, 32), normal(300, 32, seed=1), normal(300, seed=2)
    whole = search(data, table, offset)
    monkeypatch.setattr(search_cpu, "PIECE", 7 * 4 * 300)
    monkeypatch.setattr(lookup, "CELLS", 7 * 300)
    assert torch.equal(search(data, table, offset), whole)


def test_excluded_entries_are_never_found() -> None:
    codebook = normal(10, 4)
    excluded = torch.arange(10) % 2 == 0
    assert torch.equal(nearest(codebook[1::2], codebook, excluded=excluded), torch.arange(1, 10, 2))
    assert bool((nearest(codebook, codebook, excluded=excluded) % 2 == 1).all())


def test_best_match_has_the_largest_product_and_bias() -> None:
    data, table, bias = normal(200, 8), normal(50, 8, seed=1), normal(50, seed=2)
    product = data.double() @ table.double().t()
    assert torch.equal(best_match(data, table), product.argmax(1))
    assert torch.equal(best_match(data, table, bias), (product + bias).argmax(1))


@pytest.mark.parametrize("lookup_in", [nearest, best_match])
def test_bfloat16_vectors_are_searched_in_float32(lookup_in: Callable[[Tensor, Tensor], Tensor]) -> None:
    data, codebook = normal(500, 8).bfloat16(), normal(50, 8, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        found = lookup_in(data, codebook)
        compiled = torch.compile(lookup_in, fullgraph=True, backend="aot_eager")(data, codebook)
    assert torch.equal(found, lookup_in(data.float(), codebook))
    assert torch.equal(found, compiled)


def test_search_records_no_gradient() -> None:
    data, codebook = torch.randn(5, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    assert not nearest(data, codebook).requires_grad
    assert not best_match(data, codebook).requires_grad


@each_search
@pytest.mark.parametrize("table", [normal(4096, 4), torch.ones(4096, 4)], ids=["plain", "all alike"])
def test_no_score_matrix_beyond_a_chunk_is_held(search: Search, table: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "CELLS", search_cpu.PIECE // 4)
    data, offset = normal(5000, 4), table.square().sum(1) / 2
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        search(data, table, offset)
    largest = max(abs(event.self_cpu_memory_usage) for event in profile.events() or [])
    assert largest <= search_cpu.PIECE


def test_compiled_lookup_is_one_node_and_finds_the_same() -> None:
    targets: list[str] = []

    def record(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., object]:
        targets.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    codebook = normal(500, 8)
    compiled = torch.compile(nearest, fullgraph=True, dynamic=True, backend=record)
    for count in (3000, 2000):
        data = normal(count, 8, seed=1)
        assert torch.equal(compiled(data, codebook), nearest(data, codebook))
    assert sum("least" in target for target in targets) == 1


@pytest.mark.parametrize("strict", [False, True])
def test_exported_lookup_holds_plain_operators_and_takes_any_number_of_rows(strict: bool) -> None:
    class Lookup(torch.nn.Module):
        def forward(self, rows: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor]:
            return nearest(rows, codebook), best_match(rows, codebook)

    codebook = normal(500, 8)
    shapes = ({0: torch.export.Dim("rows", min=2, max=100_000)}, None)
    program = torch.export.export(Lookup(), (normal(10, 8), codebook), dynamic_shapes=shapes, strict=strict)
    assert "codec" not in str(program.run_decompositions().graph)
    data = normal(3000, 8, seed=1)
    near, best = program.module()(data, codebook)
    assert torch.equal(near, nearest(data, codebook)) and torch.equal(best, best_match(data, codebook))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_fake_tensors_pass_through(device: str) -> None:
    with FakeTensorMode():
        found = nearest(torch.empty(7, 3, device=device), torch.empty(5, 3, device=device))
    assert found.shape == (7,) and found.dtype == torch.int64 and found.device.type == device


def test_rounding_of_the_factors_in_opposite_directions_hides_no_nearest_code() -> None:
    """All products of one code round down in bfloat16 and all of the other up, by nearly half a step each."""
    half, close, step = 32, 2e-6, 2.0**-8
    row = torch.cat((torch.full((half,), 1 + step - close), torch.full((half,), 1 + step + close)))
    left, right = row / 16 * (torch.arange(64) < half), row / 16 * (torch.arange(64) >= half)
    table = torch.zeros(256, 64)
    table[:4] = torch.stack((left, right, -left, -right))
    gap = float(row.double() @ (right - left).double())
    for shift in torch.linspace(-0.03, 0.03, 500).tolist():
        offset = torch.zeros(256)
        offset[0], offset[1], offset[3] = -shift - gap - 3e-5, -shift, shift
        offset[2] = -offset[0]
        wanted = (offset.double() - table.double() @ row.double()).argmin()
        assert int(search_cpu._by_shortlist(row[None], table, offset)) == int(wanted)
