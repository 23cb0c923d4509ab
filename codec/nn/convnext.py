"""The block of ConvNeXt over frames of sound: a wide look at each channel, then a wide look at each frame."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.core.overlap import Span, convolution_span


class FrameNorm(nn.LayerNorm):
    """Layer normalisation over the channels of `[b, width, time]`, frame by frame."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.transpose(1, 2)).transpose(1, 2)

    def input_span(self, span: Span) -> Span:
        """The same frames."""
        return span


class FrameLinear(nn.Linear):
    """The same linear map of every frame of `[b, width, time]`."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.transpose(1, 2)).transpose(1, 2)

    def input_span(self, span: Span) -> Span:
        """The same frames."""
        return span


class ConvNeXtBlock(nn.Module):
    """x + scale * W2 gelu(W1 norm(depthwise(x))) (Liu et al. 2022, figure 4), dilated, over time.

    In memory the channels of a frame lie side by side, so its two products run over whole frames.

    Args:
        width: channels in and out; four times as many inside.
        kernel: frames that the depthwise convolution sees, odd.
        scale: what the block's branch starts with.

    Shapes: `[b, width, time]` to the same.
    """

    def __init__(self, width: int, *, kernel: int = 7, dilation: int = 1, causal: bool = False, scale: float = 0.1):
        super().__init__()
        self.kernel, self.dilation = kernel, dilation
        total = (kernel - 1) * dilation
        self.pad_left = total if causal else total // 2
        self.pad_right = total - self.pad_left
        self.depthwise = nn.Conv1d(width, width, kernel, dilation=dilation, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, frames: Tensor) -> Tensor:
        seen = self.depthwise(F.pad(frames, (self.pad_left, self.pad_right))).transpose(1, 2)
        branch = self.contract(F.gelu(self.expand(self.norm(seen)))) * self.scale
        return frames + branch.transpose(1, 2)

    def input_span(self, span: Span) -> Span:
        """Frames that output frames `span` depend on."""
        needed = convolution_span(span, kernel=self.kernel, stride=1, dilation=self.dilation, pad_left=self.pad_left)
        return span.joined(needed)
