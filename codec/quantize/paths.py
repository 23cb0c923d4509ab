"""Codes of a residual stack chosen together: a search that follows several paths through its stages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from codec.quantize.base import can_branch

PIECE = 64  # rows searched at once on a CPU, so that their scores stay near the core
COLUMNS = 64
UNPAYABLE = 1e9  # stands for an infinite price, so that a path that has no other way does not spoil the sums


class PathSearch:
    """A beam search for the entries, one of each stage, whose sum is near to a vector and cheap.

    Least of |x - sum of entries|^2 + sum of prices: of all ways to go on from the best paths of the stages before, each
    stage keeps the best few (Babenko & Lempitsky 2014, section 3). With one path and prices of 0 each stage takes its
    nearest entry. Tables and rows are float32. Tables are centred first, and rows by what they are centred by: far from
    the origin a rounding error would decide. Entries of infinite price are left out.

    Args:
        tables: entries `[K, D]` of each stage.
        prices: of the entries `[K]` of each stage, in squared distance.
    """

    def __init__(self, tables: Sequence[Tensor], prices: Sequence[Tensor]) -> None:
        prices = [price.clamp_max(UNPAYABLE) for price in prices]
        self._codes = [_affordable(price) for price in prices]
        tables = [table[codes] for table, codes in zip(tables, self._codes, strict=True)]
        prices = [price[codes] for price, codes in zip(prices, self._codes, strict=True)]
        means = [table.mean(0) for table in tables]
        self._centred = [table - mean for table, mean in zip(tables, means, strict=True)]
        self._centre = torch.stack(means).sum(0)
        self._products = [
            torch.cat((-2 * table, (table.square().sum(1) + price)[:, None], torch.ones_like(price)[:, None]), 1).t()
            for table, price in zip(self._centred, prices, strict=True)
        ]

    def best(self, rows: Tensor, *, width: int) -> Tensor:
        """Codes `[N, stages]` (int64) of `rows` `[N, D]`, along `width` paths."""
        rows = rows - self._centre
        whole = rows.device.type != "cpu" or torch.compiler.is_compiling() or torch.compiler.is_exporting()
        pieces = (rows,) if whole else rows.split(PIECE)
        found = torch.cat([_search(piece, self._centred, self._products, width) for piece in pieces])
        return torch.stack([codes[book] for codes, book in zip(self._codes, found.unbind(1), strict=True)], 1)


def _affordable(prices: Tensor) -> Tensor:
    """The codes of a finite price, ascending, and as many others as make a multiple of `COLUMNS`; all in a graph."""
    order = torch.arange(len(prices), device=prices.device)
    if not can_branch(prices):
        return order
    number = max(1, int((prices < UNPAYABLE).sum()))
    return order[(prices == UNPAYABLE).int().argsort(stable=True)[: -(-number // COLUMNS) * COLUMNS]]


def _search(rows: Tensor, tables: Sequence[Tensor], products: Sequence[Tensor], width: int) -> Tensor:
    """`products` `[D + 2, K]` take what a path has left, a one and its cost so far to the cost of every way on."""
    left = rows[:, None]  # [n, paths, D]: what each path has not coded yet
    cost = rows.square().sum(1, keepdim=True)  # [n, paths], the least first
    codes = torch.zeros_like(left[..., :0], dtype=torch.int64)
    for table, product in zip(tables, products, strict=True):
        state = torch.cat((left, torch.ones_like(cost)[..., None], cost[..., None]), 2)
        cost, best = _least((state @ product).flatten(1), width)
        path, code = best // len(table), best % len(table)
        codes = torch.cat((_of_paths(codes, path), code[..., None]), 2)
        left = _of_paths(left, path) - table[code]
    return codes[:, 0]


def _least(scores: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The `number` least of each row of `scores` `[n, m]`, or all, in order, and their places, both `[n, number]`.

    They lie in those columns of a row, laid out as a matrix, whose least are least; PyTorch is much faster at minima
    down columns than at sorting.
    """
    total = scores.shape[1]
    number = min(number, total)
    if total % COLUMNS or number >= COLUMNS:
        return scores.topk(number, largest=False)
    laid = scores.unflatten(1, (-1, COLUMNS))
    columns = laid.amin(1).topk(number, largest=False).indices
    few = laid.gather(2, columns[:, None].expand(-1, laid.shape[1], -1)).flatten(1)
    least, place = few.topk(number, largest=False)
    return least, place // number * COLUMNS + columns.gather(1, place % number)


def _of_paths(values: Tensor, path: Tensor) -> Tensor:
    """Rows `[n, paths, d]` of `values` `[n, p, d]` that `path` `[n, paths]` names."""
    return values.gather(1, path[..., None].expand(-1, -1, values.shape[2]))
