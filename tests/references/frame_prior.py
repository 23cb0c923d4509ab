"""The decoder of chunks that a frame prior predicted, in plain Python integers: slow, independent of any library.

It works from the tensors of a prior's file as nested lists, and from its config as a plain tree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FULL = 1 << 64


class ShareDecoder:
    """The range decoder, for shares of any total."""

    def __init__(self, data: bytes):
        self.digits = data + bytes(16)
        self.position, self.width = 8, FULL - 1
        self.ahead = int.from_bytes(self.digits[:8], "big")

    def take(self, shares: Sequence[int]) -> int:
        """The next symbol, each having its share of the sum of all."""
        scale = self.width // sum(shares)
        symbol, start = 0, 0
        while (start + shares[symbol]) * scale <= self.ahead:
            start += shares[symbol]
            symbol += 1
        self.ahead -= start * scale
        self.width = shares[symbol] * scale
        if self.width < 1 << 32:
            word = int.from_bytes(self.digits[self.position : self.position + 4].ljust(4, b"\0"), "big")
            self.position += 4
            self.width, self.ahead = self.width << 32, (self.ahead << 32) + word
        return symbol


def decode(data: bytes, tensors: Mapping[str, Any], config: Any, shape: Sequence[int]) -> list[list[list[int]]]:
    """Codes as `[rows][q][frames]`, `shape` being [rows, q, frames]."""
    rows, books, length = shape
    coder = ShareDecoder(data)
    return [_row(coder, tensors, config["frames"], books, length) for _ in range(rows)]


def _row(coder: ShareDecoder, tensors, config, books: int, length: int) -> list[list[int]]:
    frames: list[list[int]] = []  # codes of each
    sums: list[list[int]] = []  # vectors of each
    pasts: list[list[list[int]]] = []  # outputs of the causal layers of each
    chance = 1 << 11
    width, hidden = config["embedding_dim"], config["hidden"]
    for t in range(length):
        seen = [x for back in range(config["kernel"], 0, -1) for x in (sums[t - back] if t >= back else [0] * width)]
        outputs = [_layer(tensors, "past", 0, seen, 0)]
        for index, dilation in enumerate(config["dilations"]):
            before = pasts[t - dilation][index] if t >= dilation else [0] * hidden
            outputs.append(_layer(tensors, "further", index, [*before, *outputs[index]], 0))
        pasts.append(outputs)
        repeats = 0
        if t > 0:
            repeats = coder.take([(1 << 16) - chance, chance])
            chance += ((1 << 16) - chance) >> 4 if repeats else -(chance >> 4)
        codes: list[int] = []
        exact, vector = [0] * width, [0] * width
        for book in range(books):
            seen = [*outputs[-1], *_within(exact), *vector]
            code = frames[-1][book] if repeats else coder.take(_shares(tensors, book, seen))
            codes.append(code)
            vector = [x << tensors["embedding_shift"][book] for x in tensors["embedding"][book][code]]
            exact = [a + tensors["scale"][book] * x for a, x in zip(exact, vector, strict=True)]
        frames.append(codes)
        sums.append(_within(exact))
    return [[codes[book] for codes in frames] for book in range(books)]


def _shares(tensors, book: int, seen: Sequence[int]) -> list[int]:
    hidden = _layer(tensors, "first", book, seen, 0)
    features = _layer(tensors, "second", book, [*hidden, *seen], -4095)
    logits = _sums(tensors, "head", book, features)
    table = tensors["exponentials"]
    return [table[min(max(logits) - logit, len(table) - 1)] for logit in logits]


def _layer(tensors, name: str, index: int, inputs: Sequence[int], least: int) -> list[int]:
    return [max(least, min(value, 4095)) for value in _sums(tensors, name, index, inputs)]


def _sums(tensors, name: str, index: int, inputs: Sequence[int]) -> list[int]:
    layers = (tensors[f"{name}.{part}"][index] for part in ("weight", "bias", "shift"))
    return [
        (sum(w * x for w, x in zip(weight, inputs, strict=True)) + bias) >> shift
        for weight, bias, shift in zip(*layers, strict=True)
    ]


def _within(exact: Sequence[int]) -> list[int]:
    return [max(-4095, min((value + 2048) >> 12, 4095)) for value in exact]
