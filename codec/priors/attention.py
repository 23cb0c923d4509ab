"""Causal self-attention, for a whole sequence or for one more position beside a cache of keys and values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.core.errors import UserError


@dataclass
class Memory:
    """Keys and values `[b, heads, capacity, width / heads]` of the first `length` positions, and every one's turn."""

    capacity: int
    length: int = 0
    keys: Tensor | None = None
    values: Tensor | None = None
    turns: Tensor | None = None

    def next_turn(self, like: Tensor) -> Tensor:
        """The turn of the next position, for queries `like`."""
        self.turns = _turns(self.capacity, like) if self.turns is None else self.turns
        return self.turns[:, self.length : self.length + 1]

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add one position `[b, heads, 1, width / heads]`; gives all up to it."""
        if self.keys is None or self.values is None:
            shape = (*key.shape[:2], self.capacity, key.shape[3])
            self.keys, self.values = key.new_empty(shape), value.new_empty(shape)
        self.keys[:, :, self.length] = key[:, :, 0]
        self.values[:, :, self.length] = value[:, :, 0]
        self.length += 1
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


class CausalAttention(nn.Module):
    """Each query looks at the sources up to its own position (Vaswani et al. 2017, section 3.2).

    Positions enter by rotating queries and keys (Su et al. 2021, equation 34).

    Args:
        width: of queries and of the result.
        source_width: of what keys and values are made from.
        num_heads: must divide `width` into an even number of channels.
    """

    def __init__(self, width: int, source_width: int, *, num_heads: int):
        super().__init__()
        if width % (2 * num_heads):
            raise UserError(f"width is {width}, with {num_heads} heads: take a multiple of {2 * num_heads}")
        self.num_heads = num_heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(source_width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, query: Tensor, source: Tensor) -> Tensor:
        """Results `[b, n, width]` for `query` `[b, n, width]` and `source` `[b, n, source_width]`."""
        q, k, v = self._heads(query, source)
        turns = _turns(q.shape[2], q)
        return self._join(F.scaled_dot_product_attention(_turned(q, turns), _turned(k, turns), v, is_causal=True))

    def step(self, query: Tensor, source: Tensor, memory: Memory) -> Tensor:
        """The result `[b, 1, width]` at the next position, which joins `memory`."""
        q, k, v = self._heads(query, source)
        turn = memory.next_turn(q)
        keys, values = memory.append(_turned(k, turn), v)
        return self._join(F.scaled_dot_product_attention(_turned(q, turn), keys, values))

    def _heads(self, query: Tensor, source: Tensor) -> tuple[Tensor, ...]:
        key, value = self.key_value(source).chunk(2, dim=-1)
        return tuple(x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in (self.query(query), key, value))

    def _join(self, heads: Tensor) -> Tensor:
        return self.out(heads.transpose(1, 2).flatten(2))


def _turns(length: int, like: Tensor) -> Tensor:
    """Cosines and signed sines `[2, length, width]` of the angles by which heads `like` `[..., width]` are turned."""
    half = like.shape[-1] // 2
    rates = 10000.0 ** (-torch.arange(half, device=like.device) / half)
    angles = torch.arange(length, device=like.device)[:, None] * rates
    cos, sin = angles.cos(), angles.sin()
    return torch.stack((torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1))).to(like.dtype)


def _turned(heads: Tensor, turns: Tensor) -> Tensor:
    """Channel i of the first half and channel i of the second are the two coordinates that turn."""
    return torch.addcmul(heads * turns[0], heads.roll(heads.shape[-1] // 2, -1), turns[1])
