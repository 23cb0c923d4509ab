"""Self-attention inside windows of a fixed grid, so that chunked coding stays exact."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.core.errors import UserError
from codec.core.overlap import Span
from codec.nn.norm import ChannelNorm

HEAD_WIDTH = 32  # channels


class WindowAttention(nn.Module):
    """x + W_o softmax(q k^T / sqrt(d)) v within windows (Vaswani et al. 2017, eq. 1; Liu et al. 2021, section 3.2).

    Windows of `window` positions per axis tile the signal from position 0 on; the last may be shorter. Queries, keys
    and values are made of the normalised positions plus a learned vector for each place in a window.

    Shapes: `[b, width, *space]` to the same. Given a part of a signal, that part must start where a window does.
    """

    def __init__(self, width: int, *, ndim: int, window: int):
        super().__init__()
        head_width = min(HEAD_WIDTH, width)
        if width % head_width:
            raise UserError(f"attention over {width} channels: take a multiple of {HEAD_WIDTH}")
        self.window, self.num_heads = window, width // head_width
        self.norm = ChannelNorm()
        self.place = nn.Parameter(torch.randn(window**ndim, width) * 0.02)
        self.project_in = nn.Linear(width, 3 * width)
        self.project_out = nn.Linear(width, width)

    def forward(self, signal: Tensor) -> Tensor:
        size = signal.shape[2:]
        inside = F.pad(self.norm(signal), [side for extent in reversed(size) for side in (0, -extent % self.window)])
        windows = self._split(inside) + self.place
        heads = self.project_in(windows).unflatten(-1, (3, self.num_heads, -1)).movedim(-3, 0).transpose(2, 3)
        mixed = F.scaled_dot_product_attention(*heads.unbind(), attn_mask=self._real(signal, inside))
        out = self._joined(self.project_out(mixed.transpose(1, 2).flatten(2)), inside.shape)
        return signal + out[(..., *(slice(extent) for extent in size))].to(signal.dtype)

    def input_span(self, span: Span) -> Span:
        """Inputs that outputs `span` depend on: whole windows."""
        return span.aligned(self.window)

    def _split(self, signal: Tensor) -> Tensor:
        """`[b, c, *space]`, whole windows, to `[b * windows, positions, c]`."""
        ndim = signal.dim() - 2
        for axis in range(ndim):
            signal = signal.unflatten(2 + 2 * axis, (-1, self.window))
        blocks, within = [2 + 2 * axis for axis in range(ndim)], [3 + 2 * axis for axis in range(ndim)]
        return signal.permute(0, *blocks, *within, 1).flatten(1 + ndim, -2).flatten(0, ndim)

    def _joined(self, windows: Tensor, shape: torch.Size) -> Tensor:
        """The inverse of `_split`, for a signal of `shape`."""
        blocks = [extent // self.window for extent in shape[2:]]
        ndim = len(blocks)
        grid = windows.view(shape[0], *blocks, *(self.window,) * ndim, shape[1])
        axes = [axis for pair in zip(range(1, 1 + ndim), range(1 + ndim, 1 + 2 * ndim), strict=True) for axis in pair]
        return grid.permute(0, 1 + 2 * ndim, *axes).reshape(shape)

    def _real(self, signal: Tensor, padded: Tensor) -> Tensor | None:
        """`[b * windows, 1, 1, positions]`, True where a key is a position of the signal; None if all are."""
        if signal.shape == padded.shape:
            return None
        real = padded.new_zeros((padded.shape[0], 1, *padded.shape[2:]), dtype=torch.bool)
        real[(..., *(slice(extent) for extent in signal.shape[2:]))] = True
        return self._split(real)[:, None, None, :, 0]
