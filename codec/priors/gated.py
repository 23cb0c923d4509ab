"""Gated convolutions over two stacks, whole or with caches: rows above at once, the row's left side code by code.

Features are `[b, height, width, channels]`. The vertical stack sees the rows above and is advanced once a row; the
horizontal stack sees what is left of a position, and the vertical stack (van den Oord et al. 2016, section 2.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.priors.attention import CausalAttention, Memory


@dataclass
class LayerState:
    """What a layer remembers.

    Attributes:
        above: normalised vertical features of the rows above `[b, reach, width, channels]`.
        row: what the vertical stack tells the horizontal one in this row `[b, 1, width, 2 * channels]`.
        left: normalised horizontal features to the left `[b, 1, reach, channels]`.
    """

    above: Tensor
    row: Tensor
    left: Tensor


class GatedLayer(nn.Module):
    """One layer of both stacks, each with a residual (van den Oord et al. 2016, figure 2 and equation 5).

    Args:
        width: channels.
        kernel: extent of a full filter, odd; the vertical stack uses its rows down to the middle one, the horizontal
            one the middle row up to its centre.
    """

    def __init__(self, width: int, *, kernel: int, dropout: float):
        super().__init__()
        self.width, self.reach, self.dropout = width, kernel // 2, dropout
        self.vertical_norm, self.horizontal_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        vertical = nn.Conv2d(width, 2 * width, (self.reach + 1, kernel), padding=(0, self.reach))
        self.vertical = vertical.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.known = nn.Linear(width, 2 * width)
        self.link = nn.Linear(2 * width, 2 * width)
        self.vertical_out = nn.Linear(width, width)
        self.horizontal = nn.Linear((self.reach + 1) * width, 2 * width)
        self.horizontal_out = nn.Linear(width, width)

    def forward(self, down: Tensor, across: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Both stacks, `[b, h, w, channels]`, one layer further; `known` is of the same shape."""
        state = self.start(down)
        down = self.row(down, known, state)
        window = F.pad(self.horizontal_norm(across), (0, 0, self.reach, 0))
        taps = [window[:, :, tap : tap + across.shape[2]] for tap in range(self.reach + 1)]
        return down, self._across(across, torch.cat(taps, dim=-1), state.row)

    def start(self, like: Tensor) -> LayerState:
        """The state above and left of everything, for features like `like` `[b, h, w, channels]`."""
        batch, _, extent, channels = like.shape
        above = like.new_zeros(batch, self.reach, extent, channels)
        row = like.new_zeros(batch, 1, extent, 2 * channels)
        return LayerState(above, row, like.new_zeros(batch, 1, self.reach, channels))

    def row(self, down: Tensor, known: Tensor, state: LayerState) -> Tensor:
        """The vertical stack over one or more rows, one layer further; `state` then stands at their start."""
        window = torch.cat((state.above, self.vertical_norm(down)), dim=1)
        seen = self.vertical(window.movedim(-1, 1)).movedim(1, -1) + self.known(known)
        state.above, state.row = window[:, window.shape[1] - self.reach :], self.link(seen)
        state.left = torch.zeros_like(state.left)
        return down + self._gated(seen, self.vertical_out)

    def position(self, across: Tensor, column: int, state: LayerState) -> Tensor:
        """The horizontal stack at one position `[b, 1, 1, channels]`, one layer further; `state` moves on."""
        window = torch.cat((state.left, self.horizontal_norm(across)), dim=2)
        state.left = window[:, :, 1:]
        return self._across(across, window.flatten(2).unsqueeze(2), state.row[:, :, column : column + 1])

    def _across(self, across: Tensor, taps: Tensor, row: Tensor) -> Tensor:
        """`taps`: at each position, the features up to it from the left, joined `[b, h, w, (reach + 1) * channels]`."""
        return across + self._gated(self.horizontal(taps) + row, self.horizontal_out)

    def _gated(self, features: Tensor, out: nn.Linear) -> Tensor:
        value, gate = features.chunk(2, dim=-1)
        return F.dropout(out(value.tanh() * gate.sigmoid()), self.dropout, self.training)


@dataclass
class AttentionState:
    """Keys and values so far, and the features `[b, 1, channels]` of the last position."""

    memory: Memory
    last: Tensor


class RasterAttention(nn.Module):
    """Each position looks at all before it in raster order: at their features and their codes (Chen et al. 2018).

    The first position, with nothing before it, looks at zeros.
    """

    def __init__(self, width: int, *, num_heads: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = CausalAttention(width, 2 * width, num_heads=num_heads)

    def forward(self, across: Tensor, codes: Tensor) -> Tensor:
        """Features and embedded codes `[b, h, w, channels]` to features of the same shape."""
        features = self.norm(across).flatten(1, 2)
        source = F.pad(torch.cat((features, codes.flatten(1, 2)), dim=-1), (0, 0, 1, 0))[:, :-1]
        return across + self.attention(features, source).view(across.shape)

    def start(self, like: Tensor) -> AttentionState:
        """The state before the first of the positions of `like` `[b, h, w, channels]`."""
        batch, height, width, channels = like.shape
        return AttentionState(Memory(height * width), like.new_zeros(batch, 1, channels))

    def position(self, across: Tensor, last_code: Tensor, state: AttentionState) -> Tensor:
        """Features `[b, 1, 1, channels]` at one position, given the embedded code before it; `state` moves on."""
        features = self.norm(across).flatten(1, 2)
        source = torch.cat((state.last, last_code.flatten(1, 2)), dim=-1)
        state.last = features
        return across + self.attention.step(features, source, state.memory).view(across.shape)
