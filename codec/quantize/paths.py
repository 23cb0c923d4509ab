"""Codes of a residual stack chosen together: a search that follows several paths through its stages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

PIECE = 64  # rows searched at once, so that their scores stay near the core
COLUMNS = 64


@torch.no_grad()
def best_paths(rows: Tensor, tables: Sequence[Tensor], prices: Sequence[Tensor], *, width: int) -> Tensor:
    """Codes `[N, q]` (int64) whose entries' sum is near to each of `rows` `[N, D]` and cheap.

    Least of |x - sum of entries|^2 + sum of prices, by a beam search: of all ways to go on from the best `width` paths
    of the stages before, each stage keeps the best `width` (Babenko & Lempitsky 2014, section 3). With a width of 1 and
    prices of 0 each stage takes its nearest entry. All are float32.

    Args:
        tables: entries `[K, D]` of each stage.
        prices: of the entries `[K]` of each stage, in squared distance.
    """
    offsets = [table.square().sum(1) + price for table, price in zip(tables, prices, strict=True)]
    products = [
        torch.cat((-2 * t.t(), o[None], torch.ones_like(o)[None])) for t, o in zip(tables, offsets, strict=True)
    ]
    return torch.cat([_search(piece, tables, products, width) for piece in rows.split(PIECE)])


def _search(rows: Tensor, tables: Sequence[Tensor], products: Sequence[Tensor], width: int) -> Tensor:
    """`products` `[D + 2, K]` take what a path has left, a one and its cost so far to the cost of every way on."""
    count = len(rows)
    left = rows[:, None]  # [n, paths, D]: what each path has not coded yet
    cost = rows.square().sum(1, keepdim=True)  # [n, paths]
    codes = torch.zeros(count, 1, 0, dtype=torch.int64, device=rows.device)
    for table, product in zip(tables, products, strict=True):
        state = torch.cat((left, torch.ones_like(cost)[..., None], cost[..., None]), 2)
        cost, best = _least((state.flatten(0, 1) @ product).view(count, -1), width)
        path, code = best // len(table), best % len(table)
        codes = torch.cat((_of_paths(codes, path), code[..., None]), 2)
        left = _of_paths(left, path) - table[code]
    return codes[torch.arange(count, device=rows.device), cost.argmin(1)]


def _least(scores: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The `number` least of each row of `scores` `[n, m]`, or all, and their places, both `[n, number]`.

    They lie in those columns of a row, laid out as a matrix, whose least are least; PyTorch is much faster at minima
    down columns than at sorting.
    """
    count, total = scores.shape
    number = min(number, total)
    if total % COLUMNS or number >= COLUMNS:
        return scores.topk(number, largest=False)
    laid = scores.view(count, -1, COLUMNS)
    columns = laid.amin(1).topk(number, largest=False).indices
    few = laid.gather(2, columns[:, None].expand(-1, laid.shape[1], -1)).flatten(1)
    least, place = few.topk(min(number, few.shape[1]), largest=False)
    return least, place // number * COLUMNS + columns.gather(1, place % number)


def _of_paths(values: Tensor, path: Tensor) -> Tensor:
    """Rows `[n, paths, d]` of `values` `[n, p, d]` that `path` `[n, paths]` names."""
    return values.gather(1, path[..., None].expand(-1, -1, values.shape[2]))
