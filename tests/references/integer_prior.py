"""The decoder of predicted chunks (docs/file-format.md) in plain Python integers: slow, independent of any library.

It works from the tensors of a prior's file as nested lists, and from its config and geometry as plain trees.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.references.range_coder import RangeDecoder

Position = tuple[int, ...]
Level = list[list[dict[Position, int]]]  # codes by row, codebook and position

TOTAL = 1 << 22


def decode(
    data: bytes, tensors: Mapping[str, Any], config: Any, geometry: Any, shapes: Sequence[tuple[int, ...]]
) -> list[Level]:
    """Codes of every level, `shapes` being [rows, q, *space] of each."""
    coder = RangeDecoder(data)
    grids = [*geometry["coarser"], geometry["level"]]
    levels: list[Level] = []
    for index, (level, shape) in enumerate(zip(config["levels"], shapes, strict=True)):
        prefix = f"levels.{index}."
        own = {key[len(prefix) :]: tensor for key, tensor in tensors.items() if key.startswith(prefix)}
        levels.append(_level(coder, own, level, grids[: index + 1], levels, shape))
    return levels


def phase_of(position: Position, phases: int) -> int:
    """The phase that `position` is in: the finer the coarsest lattice it lies on, the later."""
    depth = 0
    while depth < phases - 1 and _on_lattice(position, depth + 1):
        depth += 1
    return phases - 1 - depth


def _on_lattice(position: Position, coarseness: int) -> bool:
    spacing, tips = divmod(coarseness, len(position))
    if any(place % 2**spacing for place in position):
        return False
    return not tips or sum(place >> spacing for place in position) % 2 == 0


def _level(coder: RangeDecoder, tensors, config, grids, above: Sequence[Level], shape: Sequence[int]) -> Level:
    rows, active, *size = shape
    context = config["context"]
    rates = context["rates"] or [grids[-1]["num_codebooks"]]
    rate = next((index for index, number in enumerate(rates) if number >= active), len(rates) - 1)
    codes: Level = [[{} for _ in range(active)] for _ in range(rows)]
    network, first = 0, 0
    for group in context["groups"]:
        for phase in range(group["phases"]):
            places = [p for p in itertools.product(*map(range, size)) if phase_of(p, group["phases"]) == phase]
            books = range(first, min(first + group["codebooks"], active))
            wanted = [(row, book, place) for row in range(rows) for book in books for place in places]
            layers = {
                key[len(f"networks.{network}.") :]: v for key, v in tensors.items() if f"networks.{network}." in key
            }
            outputs = {
                (row, place): _network(
                    layers,
                    list(_seen(tensors, context["head"], grids, above, size, codes, row, place, first, group)),
                    group["hidden"],
                    rate,
                )
                for row in range(rows)
                for place in places
                if books
            }
            each = [
                (row, book, place, outputs[row, place][book - first :: group["codebooks"]])
                for row, book, place in wanted
            ]
            head = _ordinal if context["head"] == "ordinal" else _categorical
            for (row, book, place), code in head(coder, tensors, config, grids[-1]["codebook_size"], each):
                codes[row][book][place] = code
            network += 1
        first += group["codebooks"]
    return codes


def _seen(tensors, head, grids, above, size, codes, row, place, first, group) -> Iterator[int]:
    """What a network sees around `place`: planes of the level's codebooks up to the group's, then the coarser ones'."""
    reach = group["kernel"] // 2
    around = list(itertools.product(range(-reach, reach + 1), repeat=len(place)))
    largest = grids[-1]["codebook_size"] - 1
    for book in range(first + group["codebooks"]):
        known = codes[row][book] if book < len(codes[row]) else {}
        found = [known.get(tuple(a + b for a, b in zip(place, offset, strict=True))) for offset in around]
        if head == "ordinal":
            yield from (0 if code is None else (2 * code - largest) * 512 for code in found)
        else:
            yield from _planes(tensors["head.embedding.table"][book], found)
    for index, (grid, level) in enumerate(zip(grids, above, strict=False)):
        ratio = grid["downsample_factor"] // grids[-1]["downsample_factor"]
        for book in range(grid["num_codebooks"]):
            known = level[row][book] if book < len(level[row]) else {}
            neighbours = [tuple(a + b for a, b in zip(place, offset, strict=True)) for offset in around]
            inside = [all(0 <= a < extent for a, extent in zip(n, size, strict=True)) for n in neighbours]
            found = [
                known.get(tuple(a // ratio for a in n)) if here else None
                for n, here in zip(neighbours, inside, strict=True)
            ]
            yield from _planes(tensors[f"above.{index}.table"][book], found)


def _planes(table: Sequence[Sequence[int]], found: Sequence[int | None]) -> Iterator[int]:
    for plane in range(len(table[0])):
        yield from (0 if code is None else table[code][plane] for code in found)


def _network(layers, seen: list[int], hidden: int, rate: int) -> list[int]:
    first = _layer(layers, "first", seen, rate)
    second = _layer(layers, "second", [_clamped(value) for value in first[:hidden]], rate)
    third = _layer(layers, "third", [_clamped(value) for value in second], rate)
    return [a + b for a, b in zip(first[hidden:], third, strict=True)]


def _layer(layers, name: str, inputs: list[int], rate: int) -> list[int]:
    rows = zip(layers[f"{name}.weight"], layers[f"{name}.bias"][rate], layers[f"{name}.shift"], strict=True)
    return [(sum(w * x for w, x in zip(weight, inputs, strict=True)) + bias) >> shift for weight, bias, shift in rows]


def _clamped(value: int) -> int:
    return max(0, min(value, 2**24 - 1))


def _ordinal(coder: RangeDecoder, tensors, config, size: int, each) -> Iterator[tuple[Any, int]]:
    reach = config["reach"]
    starts = [0]
    for one in reach:
        starts += [starts[-1] + (2 * one + 2) * place for place in range(1, 17)]
    chosen = []
    for order, (row, book, place, (mean, log_scale)) in enumerate(each):
        sixteenths = (mean + 32) // 64 + 8 * (size - 1)
        nearest, fraction = divmod(sixteenths + 8, 16)
        level = max(0, min((log_scale + 4096) // 160, len(reach) - 1))
        chosen.append((level * 16 + fraction, order, nearest, (row, book, place)))
    far = []
    for table, order, nearest, where in sorted(chosen):
        symbol = coder.take(tensors["head.frequencies"][starts[table] : starts[table + 1]])
        if symbol == 2 * reach[table // 16] + 1:
            far.append((order, where))
        else:
            yield where, symbol - reach[table // 16] + nearest
    flat = [TOTAL // size + (code < TOTAL % size) for code in range(size)]
    for _, where in sorted(far):
        yield where, coder.take(flat)


def _categorical(coder: RangeDecoder, tensors, config, size: int, each) -> Iterator[tuple[Any, int]]:
    exponentials = tensors["head.exponentials"]
    for row, book, place, logits in each:
        top = max(logits)
        weights = [exponentials[min((top - logit) // 16, 1023)] for logit in logits]
        frequencies = [1 + weight * (TOTAL - size) // sum(weights) for weight in weights]
        frequencies[logits.index(top)] += TOTAL - sum(frequencies)
        yield (row, book, place), coder.take(frequencies)
