"""The Triton kernel finds what float64 finds: under Triton's interpreter anywhere, and on a GPU where there is one."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from codec.quantize import triton_search
from codec.quantize.triton_search import TILES, Tile, fitting, is_available, least

REPOSITORY = Path(__file__).resolve().parents[2]
KIB = 1024
A100, H100, CONSUMER = 163 * KIB, 227 * KIB, 99 * KIB  # shared memory that one program can have

Case = tuple[Tensor, Tensor, Tensor]

# Triton reads TRITON_INTERPRET when it is imported, so the interpreter has a process of its own.
INTERPRET = """
import sys, torch
from codec.quantize.triton_search import TILES, is_available, least
assert is_available()
cases = torch.load(sys.argv[1], weights_only=True)
found = {name: least(*case) for name, case in cases.items()}
found |= {f"tile {tile}": least(*cases["ragged"], tile=tile) for tile in TILES}
torch.save(found, sys.argv[2])
"""

WITHOUT_TRITON = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "triton":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from codec.quantize.triton_search import is_available
assert "triton" not in sys.modules
print(is_available())
"""

needs_triton = pytest.mark.skipif(not triton_search.INSTALLED, reason="needs triton, which this platform lacks")


@needs_triton
@pytest.mark.parametrize("K", [1, 5, 512, 1000])
@pytest.mark.parametrize("D", [1, 8, 64, 100, 256])
def test_search_finds_the_first_of_the_least_that_float64_finds(found: dict[str, Tensor], K: int, D: int) -> None:
    # Small whole numbers: products are exact in float32, equal scores are many, and so no tolerance is needed.
    assert torch.equal(found[f"{K} {D}"], _oracle(*CASES[f"{K} {D}"]))


@needs_triton
def test_search_of_real_numbers_is_right_to_the_rounding_of_float32(found: dict[str, Tensor]) -> None:
    _assert_least(*CASES["real"], found["real"])


@needs_triton
@pytest.mark.parametrize("tile", TILES, ids=str)
def test_every_tile_finds_the_same(found: dict[str, Tensor], tile: Tile) -> None:
    assert torch.equal(found[f"tile {tile}"], _oracle(*CASES["ragged"]))


@needs_triton
def test_equal_scores_go_to_the_lowest_index(found: dict[str, Tensor]) -> None:
    assert torch.equal(found["ties"], torch.zeros(3, dtype=torch.int64))


@needs_triton
def test_entries_of_infinite_offset_are_not_found(found: dict[str, Tensor]) -> None:
    assert torch.equal(found["excluded"], _oracle(*CASES["excluded"]))
    assert bool((found["excluded"] % 3 == 1).all())


@needs_triton
def test_a_row_with_nan_finds_entry_0_and_disturbs_no_other(found: dict[str, Tensor]) -> None:
    rows, table, offset = CASES["nan"]
    broken = rows.isnan().any(1)
    assert bool((found["nan"][broken] == 0).all())
    assert torch.equal(found["nan"][~broken], _oracle(rows[~broken], table, offset))


@needs_triton
def test_transposed_views_need_no_copy_by_the_caller(found: dict[str, Tensor]) -> None:
    assert torch.equal(found["views"], _oracle(*CASES["views"]))


@needs_triton
def test_no_rows_find_nothing(found: dict[str, Tensor]) -> None:
    assert found["empty"].shape == (0,) and found["empty"].dtype == torch.int64


def test_search_is_unavailable_where_triton_cannot_be_imported() -> None:
    assert _python(WITHOUT_TRITON).strip() == "False"


@needs_triton
def test_search_is_unavailable_without_gpu_and_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert not is_available()
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert is_available()


@pytest.mark.parametrize("shared_bytes", [CONSUMER, A100, H100])
@pytest.mark.parametrize("D", [1, 8, 9, 64, 1000])
def test_every_device_and_width_has_tiles_to_choose_from(D: int, shared_bytes: int) -> None:
    tiles = fitting(D, shared_bytes)
    assert len(tiles) >= 2
    assert all(tile.shared_bytes <= shared_bytes and max(8, 2 * D) >= tile.BLOCK_D for tile in tiles)


def test_tiles_too_large_for_the_device_are_left_out() -> None:
    largest = max(tile.shared_bytes for tile in TILES)
    assert fitting(64, largest) == list(TILES)
    assert 0 < len(fitting(64, largest - 1)) < len(TILES)


@needs_triton
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("tile", TILES, ids=str)
def test_every_tile_compiles_to_float32_products_within_its_shared_memory(
    tile: Tile, capability: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = _compiled(tile, capability, D=64)
    assert kernel.metadata.shared <= tile.shared_bytes
    assert "fma.rn.f32" in kernel.asm["ptx"]
    assert "mma" not in kernel.asm["ptx"] and "tf32" not in kernel.asm["ptx"]


@pytest.mark.gpu
@pytest.mark.parametrize(("N", "K", "D"), [(1_000_003, 1024, 64), (200_001, 8192, 8), (50_000, 1000, 100), (77, 5, 1)])
def test_gpu_finds_what_float64_finds(N: int, K: int, D: int) -> None:
    case = _on_gpu(N, K, D)
    _assert_least(*case, least(*case))


@pytest.mark.gpu
def test_every_tile_finds_the_same_on_the_gpu_to_the_last_bit() -> None:
    case = _on_gpu(100_003, 3000, 72)
    tuned = least(*case)
    assert all(torch.equal(least(*case, tile=tile), tuned) for tile in TILES)


@pytest.mark.gpu
def test_gpu_holds_no_matrix_of_scores() -> None:
    N, K, D = 1 << 18, 8192, 64
    case = _on_gpu(N, K, D)
    least(*case)  # the timing of the tiles has a buffer of its own
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    least(*case)
    assert torch.cuda.max_memory_allocated() - before < 4 * N * K // 100


@pytest.mark.gpu
def test_rows_beyond_2_to_the_31_numbers_are_read_in_their_place() -> None:
    N, D = (1 << 22) + 5, 520
    if torch.cuda.mem_get_info()[0] < 5 * N * D:
        pytest.skip("needs 11 GB of free GPU memory")
    rows = torch.zeros(N, D, device="cuda")
    rows[-5:, :5] = torch.eye(5, device="cuda")
    found = least(rows, torch.eye(16, D, device="cuda"), torch.zeros(16, device="cuda"))
    assert found[-5:].tolist() == [0, 1, 2, 3, 4]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """What the kernel finds for each of `CASES`, under the interpreter."""
    folder = tmp_path_factory.mktemp("interpreted")
    torch.save(CASES, folder / "cases.pt")
    _python(INTERPRET, str(folder / "cases.pt"), str(folder / "found.pt"), TRITON_INTERPRET="1")
    return torch.load(folder / "found.pt", weights_only=True)


def _python(script: str, *arguments: str, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    result = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=inherited | {"PYTHONPATH": str(REPOSITORY)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def _whole(N: int, K: int, D: int) -> Case:
    generator = torch.Generator().manual_seed(N + K + D)
    integers = partial(torch.randint, -4, 5, generator=generator, dtype=torch.float32)
    return integers((N, D)), integers((K, D)), integers((K,))


def _real(N: int, K: int, D: int) -> Case:
    generator = torch.Generator().manual_seed(N + K + D)
    table = torch.randn(K, D, generator=generator)
    return torch.randn(N, D, generator=generator), table, table.square().sum(1) / 2


def _on_gpu(N: int, K: int, D: int) -> Case:
    rows, table, offset = _real(N, K, D)
    return rows.cuda(), table.cuda(), offset.cuda()


def _cases() -> dict[str, Case]:
    cases = {f"{K} {D}": _whole(1 + (7 * K + D) % 90, K, D) for K in (1, 5, 512, 1000) for D in (1, 8, 64, 100, 256)}
    cases["real"] = _real(150, 300, 33)
    cases["ragged"] = _whole(133, 261, 41)
    cases["ties"] = torch.ones(3, 4), torch.ones(400, 4), torch.zeros(400)
    rows, table, offset = _whole(60, 300, 12)
    cases["excluded"] = rows, table, offset.where(torch.arange(300) % 3 == 1, float("inf"))
    cases["nan"] = rows.masked_fill(torch.arange(60)[:, None] % 7 == torch.arange(12), float("nan")), table, offset
    cases["views"] = rows.t().contiguous().t(), table.repeat(1, 2)[:, ::2], offset
    cases["empty"] = rows[:0], table, offset
    return cases


CASES = _cases()


def _scores(rows: Tensor, table: Tensor, offset: Tensor) -> Tensor:
    return torch.addmm(offset.double(), rows.double(), table.double().t(), alpha=-1)


def _oracle(rows: Tensor, table: Tensor, offset: Tensor) -> Tensor:
    return _scores(rows, table, offset).min(1).indices


def _assert_least(rows: Tensor, table: Tensor, offset: Tensor, found: Tensor) -> None:
    for chunk, index in zip(rows.split(1 << 16), found.split(1 << 16), strict=True):
        scores = _scores(chunk, table, offset)
        worse = scores.gather(1, index[:, None])[:, 0] - scores.min(1).values
        # Sums of some hundred products of about 1: float32 rounds them to 1e-5; TF32 would miss by 1e-2.
        assert float(worse.max()) <= 1e-4


def _compiled(tile: Tile, capability: int, D: int) -> Any:
    import triton
    from triton import knobs
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    if knobs.runtime.interpret:
        pytest.skip("under TRITON_INTERPRET nothing is compiled")
    try:
        _ = knobs.nvidia.ptxas.path
    except RuntimeError:
        pytest.skip("needs ptxas, which this build of triton lacks")
    constants = {"D": D, "BLOCK_N": tile.BLOCK_N, "BLOCK_K": tile.BLOCK_K, "BLOCK_D": tile.BLOCK_D}
    arguments = {"rows": "*fp32", "table": "*fp32", "offset": "*fp32", "found": "*i64", "N": "i32", "K": "i32"}
    signature = arguments | dict.fromkeys(constants, "constexpr")
    aligned = {(place,): [["tt.divisibility", 16]] for place in (0, 1, 2, 3, 5)}  # the pointers, and K
    return triton.compile(
        ASTSource(triton_search._kernel(), signature, constants, aligned),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": tile.num_warps, "num_stages": tile.num_stages},
    )
