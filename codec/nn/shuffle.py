"""Changes of resolution that lose nothing: space to depth and back (Shi et al. 2016, section 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.core.overlap import Span


class SpaceToDepth(nn.Module):
    """Squares of `factor` x `factor` positions become channels.

    Shapes: `[b, c, h, w]`, both extents multiples of the factor, to `[b, c factor^2, h / factor, w / factor]`.
    """

    def __init__(self, factor: int):
        super().__init__()
        self.factor = factor

    def forward(self, signal: Tensor) -> Tensor:
        return F.pixel_unshuffle(signal, self.factor).contiguous(memory_format=torch.channels_last)

    def input_span(self, span: Span) -> Span:
        """Inputs that outputs `span` depend on."""
        return Span(span.start * self.factor, span.stop * self.factor)


class DepthToSpace(nn.Module):
    """The inverse of `SpaceToDepth`: `[b, c factor^2, h, w]` to `[b, c, h factor, w factor]`."""

    def __init__(self, factor: int):
        super().__init__()
        self.factor = factor

    def forward(self, signal: Tensor) -> Tensor:
        return F.pixel_shuffle(signal, self.factor)

    def input_span(self, span: Span) -> Span:
        """Inputs that outputs `span` depend on."""
        return Span(span.start // self.factor, -(-span.stop // self.factor))
