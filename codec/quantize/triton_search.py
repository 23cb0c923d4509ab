"""Least `offset - product` of each row over a table in one Triton kernel: the N x K scores never reach memory."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

try:
    import triton
    import triton.language as tl
    from triton import knobs

    INSTALLED = True
except ImportError:  # macOS and the CPU wheels come without it
    INSTALLED = False

TUNED_ROWS = 1 << 14  # fewer rows do not fill a GPU, so their timings would choose a tile by chance


class Tile(NamedTuple):
    """How one program cuts its work: BLOCK_N rows against BLOCK_K entries, BLOCK_D channels at a time."""

    BLOCK_N: int
    BLOCK_K: int
    BLOCK_D: int
    num_warps: int
    num_stages: int

    @property
    def shared_bytes(self) -> int:
        """Bytes of shared memory that are enough for the tile: both operands, once per stage of the pipeline."""
        return 4 * self.num_stages * (self.BLOCK_N + self.BLOCK_K) * self.BLOCK_D


SMALL = Tile(32, 128, 16, num_warps=4, num_stages=3)  # for few rows: many programs from little
TILES = (
    SMALL,
    Tile(64, 64, 8, num_warps=4, num_stages=3),
    Tile(64, 64, 32, num_warps=4, num_stages=3),
    Tile(64, 128, 16, num_warps=4, num_stages=3),
    Tile(128, 64, 32, num_warps=8, num_stages=3),
    Tile(128, 128, 8, num_warps=8, num_stages=3),
    Tile(128, 128, 16, num_warps=8, num_stages=4),
    Tile(128, 128, 16, num_warps=16, num_stages=3),
)


def is_available() -> bool:
    """Whether `least` can run here: Triton is installed, and there is a GPU or Triton's interpreter (on the CPU)."""
    return INSTALLED and (torch.cuda.is_available() or knobs.runtime.interpret)


@torch.no_grad()
def least(rows: Tensor, table: Tensor, offset: Tensor, *, tile: Tile | None = None) -> Tensor:
    """Index `[N]` (int64) of the least `offset_k - rows_n . table_k` over k, the lowest such k where several are equal.

    `rows` `[N, D]`, `table` `[K, D]` and `offset` `[K]` are float32 on one device. Products are float32, never TF32,
    and each is one chain of fused multiply-adds from channel 0 to channel D - 1 however the work is cut: every tile
    gives the same result to the last bit. An entry of offset +inf is not found, and a row with NaN finds entry 0.

    Args:
        tile: how to cut the work; by default the fastest of `TILES`, timed once for each K and D.
    """
    N, D = rows.shape
    K = table.shape[0]
    assert table.shape == (K, D) and offset.shape == (K,) and K > 0 and D > 0
    assert rows.dtype == table.dtype == offset.dtype == torch.float32
    found = torch.empty(N, dtype=torch.int64, device=rows.device)
    if N == 0:
        return found
    # Neighbouring threads work on neighbouring entries: transposed, what they read lies side by side.
    arguments = (rows.contiguous(), table.t().contiguous(), offset.contiguous(), found, N, K, D)
    if tile is None and (N < TUNED_ROWS or knobs.runtime.interpret):
        tile = SMALL
    with torch.cuda.device_of(rows):
        if tile is None:
            _tuned(D, _shared_memory())[_grid](*arguments)
        else:
            _kernel()[_grid](*arguments, **tile._asdict())
    return found


def fitting(D: int, shared_bytes: int) -> list[Tile]:
    """Tiles for `D` channels on a device with `shared_bytes` of shared memory: those that fit and pad D little."""
    widest = max(8, 2 * D - 1)  # 8 channels are the least that tl.dot takes; beyond, at most half may be padding
    return [tile for tile in TILES if widest >= tile.BLOCK_D and tile.shared_bytes <= shared_bytes]


def _search(
    rows,  # [N, D]
    table,  # [D, K]
    offset,  # [K]
    found,  # [N], the result
    N,
    K,
    D: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """One program of the kernel: BLOCK_N rows against every entry, keeping the least score and its index."""
    row = tl.program_id(0).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    best = tl.full([BLOCK_N], float("inf"), tl.float32)
    index = tl.zeros([BLOCK_N], tl.int32)
    for start in tl.range(0, K, BLOCK_K, flatten=True):  # pyright: ignore[reportGeneralTypeIssues]
        entry = start + tl.arange(0, BLOCK_K)
        product = tl.zeros([BLOCK_N, BLOCK_K], tl.float32)
        for first in range(0, D, BLOCK_D):
            channel = first + tl.arange(0, BLOCK_D)
            left_mask = (row[:, None] < N) & (channel[None, :] < D)
            left = tl.load(rows + row[:, None] * D + channel[None, :], left_mask, 0.0)
            right_mask = (channel[:, None] < D) & (entry[None, :] < K)
            right = tl.load(table + channel[:, None].to(tl.int64) * K + entry[None, :], right_mask, 0.0)
            product = tl.dot(left, right, product, input_precision="ieee")
        score = tl.load(offset + entry, entry < K, float("inf"))[None, :] - product
        score = tl.where(score == score, score, float("inf"))  # NaN is never less
        low, place = tl.min(score, 1, return_indices=True)
        index = tl.where(low < best, start + place, index)
        best = tl.minimum(low, best)
    tl.store(found + row, index.to(tl.int64), row < N)


@cache
def _kernel() -> Any:
    return triton.jit(do_not_specialize=["N"])(_search)


@cache
def _tuned(D: int, shared_bytes: int) -> Any:
    configs = [
        triton.Config(
            {"BLOCK_N": tile.BLOCK_N, "BLOCK_K": tile.BLOCK_K, "BLOCK_D": tile.BLOCK_D},
            num_warps=tile.num_warps,
            num_stages=tile.num_stages,
        )
        for tile in fitting(D, shared_bytes)
    ]
    return triton.autotune(configs, key=["K", "D"])(_kernel())


def _grid(meta: dict[str, Any]) -> tuple[int]:
    return (triton.cdiv(meta["N"], meta["BLOCK_N"]),)


def _shared_memory() -> int:
    """Bytes of shared memory that one program can have on the current device."""
    driver: Any = triton.runtime.driver.active
    return driver.utils.get_device_properties(driver.get_current_device())["max_shared_mem"]
