"""The residual unit of both papers, for one or two axes."""

from __future__ import annotations

from torch import Tensor, nn

from codec.core.overlap import Span
from codec.nn.activation import ActivationName, build_activation
from codec.nn.chain import Chain
from codec.nn.conv import Conv


class ResidualUnit(nn.Module):
    """x + conv1(act(conv_k(act(x)))), k wide and dilated (van den Oord et al. 2017, section 4.1: ReLU, 3x3, ReLU, 1x1).

    Args:
        width: channels in and out.
        ndim: axes of space, 1 or 2.
        kernel: width of the first convolution.
        dilation: its dilation.
        hidden: channels between the two convolutions, `width` if None.

    Shapes: `[b, width, *space]` to the same.
    """

    def __init__(
        self,
        width: int,
        *,
        ndim: int,
        kernel: int = 3,
        dilation: int = 1,
        hidden: int | None = None,
        activation: ActivationName = "relu",
        causal: bool = False,
    ):
        super().__init__()
        hidden = hidden or width
        self.branch = Chain(
            build_activation(activation),
            Conv(width, hidden, kernel, ndim=ndim, dilation=dilation, causal=causal),
            build_activation(activation, inplace=True),
            Conv(hidden, width, 1, ndim=ndim),
        )

    def forward(self, signal: Tensor) -> Tensor:
        return signal + self.branch(signal)

    def input_span(self, span: Span) -> Span:
        """Inputs that outputs `span` depend on."""
        return span.joined(self.branch.input_span(span))
