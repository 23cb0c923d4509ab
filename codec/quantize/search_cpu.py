"""The least score of every row on a CPU: products in pieces near the core, in bfloat16 where it can be trusted."""

from __future__ import annotations

import torch
from torch import Tensor

PIECE = 1 << 22  # bytes of scores held at once: more leaves the cache, fewer starve the product of rows
FEW = 1 << 16  # scores so few that preparing the table would take longer than it saves
MANY = 1 << 29  # multiplications (N x K x D) so many that a shortlist saves more than it costs ...
WIDE, LARGE = 32, 256  # ... where D and K are at least these
COLUMNS = 64  # the narrowest matrix whose maxima down its columns PyTorch vectorises
CANDIDATES = 32  # entries of a row that are compared in float32; with more, its shortlist has failed
UNIT = 2.0**-8  # relative rounding error of bfloat16, which keeps 8 bits
TINY = 1e-15  # lengths below it may underflow when squared; with it added, no bound comes out too small


def least(rows: Tensor, table: Tensor, offset: Tensor) -> Tensor:
    """Index `[N]` (int64) of the least offset_k - x.t_k for each x of `rows`; of equal scores the first wins.

    `rows` `[N, D]`, `table` `[K, D]` and `offset` `[K]` are float32. A row with a NaN or an infinity gets some index.
    """
    size, width = table.shape
    if rows.shape[0] * size <= FEW:
        return torch.addmm(offset, rows, table.t(), alpha=-1).min(1).indices
    many = rows.shape[0] * size * width >= MANY and width >= WIDE and size >= LARGE
    return (_by_shortlist if many and _has_fast_bfloat16() else _by_product)(rows, table, offset)


def _has_fast_bfloat16() -> bool:
    return torch.cpu._is_amx_tile_supported()


def _by_product(rows: Tensor, table: Tensor, offset: Tensor) -> Tensor:
    """All scores in float32; the offset is one more column of the product, which spares a pass over the scores."""
    product = torch.cat((table.neg(), offset[:, None]), 1).t()
    step = _step(rows, product)
    extended, buffer = product.new_ones(step, product.shape[0]), product.new_empty(step, product.shape[1])
    found, scores = torch.empty(rows.shape[0], dtype=torch.int64), rows.new_empty(step)
    for chunk, out in zip(rows.split(step), found.split(step), strict=True):
        count = chunk.shape[0]
        extended[:count, :-1] = chunk
        torch.mm(extended[:count], product, out=buffer[:count])
        torch.min(buffer[:count], 1, out=(scores[:count], out))
    return found


def _by_shortlist(rows: Tensor, table: Tensor, offset: Tensor) -> Tensor:
    """All scores in bfloat16, negated, then in float32 those that its rounding cannot tell from the largest.

    The scores of a row stand as a matrix, entry k in column k // blocks, since a maximum down columns is fast, one
    along a row is slow. Positive bfloat16s are ordered as the integers that their bits spell, which are compared
    faster, and the largest score is positive since `_centred_product` makes the mean of a row's scores 0.

    If a score is off by at most e before it is rounded, with a relative error u, then the best entry is seen to score
    at least (1 - 2u) times the largest one seen, less 2e, in bfloat16. A row where that is not positive, or where too
    many entries reach it, is left to the search in float32.
    """
    blocks, columns = _grid(table.shape[0])
    product, length, lost, error = _centred_product(table, offset)
    step = _step(rows, product)
    extended, buffer = product.new_ones(step, product.shape[0]), product.new_empty(step, product.shape[1])
    found = torch.full((rows.shape[0],), -1)
    for chunk, out in zip(rows.split(step), found.split(step), strict=True):
        count = chunk.shape[0]
        extended[:count, :-2] = chunk
        torch.mm(extended[:count], product, out=buffer[:count])
        rounding = torch.linalg.vector_norm(chunk - extended[:count, :-2], dim=1).add_(TINY).mul_(length)
        bits = buffer[:count].view(torch.int16).view(count, blocks, columns)
        best = bits.amax(1)
        slack = torch.linalg.vector_norm(chunk, dim=1).add_(TINY).mul_(lost).add_(rounding).add_(error).mul_(2)
        reach = best.amax(1).view(torch.bfloat16).float().mul_(1 - 2 * UNIT).sub_(slack)
        below = torch.where(reach > 0, reach.bfloat16().view(torch.int16) - 1, torch.iinfo(torch.int16).max)
        row, column = _uncrowded(*_above(best, below), count)
        pair, block = (bits[row, :, column] > below[row, None]).nonzero().unbind(1)
        row, entry = _uncrowded(row[pair], block.add_(column[pair], alpha=blocks), count)
        _choose(out, row, entry, _scores(chunk, table, offset, row, entry))
    failed = (found < 0).nonzero().squeeze(1)
    if failed.numel():
        found[failed] = _by_product(rows[failed], table, offset)
    return found


def _centred_product(table: Tensor, offset: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`[D + 2, blocks * columns]` bfloat16 for rows with two ones at their end, and the bound on a score's error.

    A constant that is taken off all entries moves all scores of a row alike, so those that can be found are centred.
    The offset is split over two bfloat16s, with a rounding error u. With dx and dt_k what a row and an entry lose to
    theirs, Cauchy-Schwarz bounds the error of a score by |dx| max|t_k| + (1 + u) |x| max|dt_k| + u^2 max|offset_k| and
    what the sum of D + 2 products adds. Given are the factor of |dx|, that of |x|, and the rest.
    """
    usable = offset < float("inf")
    share = usable / usable.sum()
    centred = (table - share @ table).mul_(usable[:, None])
    height = (torch.where(usable, offset, 0).dot(share) - offset)[:, None]
    high = height.bfloat16()
    low = torch.where(usable[:, None], height - high, 0)
    summing = (table.shape[1] + 2) * 2.0**-23
    length = torch.linalg.vector_norm(centred, dim=1).max() + TINY
    highest = torch.where(usable[:, None], height, 0).abs().max() + TINY
    product = _arranged(torch.cat((centred, low, high), 1).bfloat16())
    lost = torch.linalg.vector_norm(centred - centred.bfloat16(), dim=1).max() + TINY
    return product, length * 1.01, lost * 1.01 + length * summing, highest * (2 * UNIT * UNIT + summing)


def _grid(size: int) -> tuple[int, int]:
    """Blocks and columns of the matrix in which the scores of a row stand."""
    columns = COLUMNS * max(1, size // 2048)
    return -(-size // columns), columns


def _arranged(factors: Tensor) -> Tensor:
    """`[W, blocks * columns]` from `factors` `[K, W]`, filled up with entries whose score is -infinity."""
    size, width = factors.shape
    blocks, columns = _grid(size)
    filled = factors.new_zeros(blocks * columns, width)
    filled[:size] = factors
    filled[size:, -1] = -float("inf")
    return filled.view(columns, blocks, width).transpose(0, 1).reshape(blocks * columns, width).t()


def _step(rows: Tensor, product: Tensor) -> int:
    """Rows whose scores fill a piece."""
    return max(1, min(rows.shape[0], PIECE // (product.shape[1] * product.element_size())))


def _above(best: Tensor, below: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of each of `best` `[n, columns]` that is above its row's `below` `[n]`, both int16, in order.

    Four are looked at as one int64, since hits are few.
    """
    excess = torch.maximum(best, below[:, None]).sub_(below[:, None])
    word = excess.view(-1).view(torch.int64).nonzero().squeeze(1)
    hit, lane = excess.view(-1, 4)[word].nonzero().unbind(1)
    place = lane.add_(word[hit], alpha=4)
    return place // best.shape[1], place % best.shape[1]


def _uncrowded(row: Tensor, what: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Of the pairs (`row`, `what`), those whose row, one of `count`, is in no more than `CANDIDATES` of them."""
    kept = (torch.bincount(row, minlength=count) <= CANDIDATES)[row].nonzero().squeeze(1)
    return row[kept], what[kept]


def _scores(rows: Tensor, table: Tensor, offset: Tensor, row: Tensor, entry: Tensor) -> Tensor:
    """offset_k - x.t_k of each pair, summed alone: no other row has a say in its rounding."""
    step = max(1, PIECE // (16 * table.shape[1]))
    pairs = zip(row.split(step), entry.split(step), strict=True)
    products = [rows.index_select(0, i).mul_(table.index_select(0, k)).sum(1) for i, k in pairs]
    return offset.index_select(0, entry).sub_(torch.cat(products))


def _choose(out: Tensor, row: Tensor, entry: Tensor, score: Tensor) -> None:
    """Write to each of `out` `[n]` that is named in `row` the first of its entries with the least score."""
    least = score.new_full(out.shape, float("inf")).scatter_reduce_(0, row, score, "amin")
    won = (score <= least[row]).nonzero().squeeze(1)
    out.scatter_reduce_(0, row[won], entry[won], "amin", include_self=False)
