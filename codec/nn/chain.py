"""Layers in a row, and the interval of inputs that an interval of their outputs depends on."""

from __future__ import annotations

from torch import nn

from codec.core.overlap import Span
from codec.nn.norm import ChannelNorm

POINTWISE = (ChannelNorm, nn.ReLU, nn.ELU, nn.GELU)


class Chain(nn.Sequential):
    """`nn.Sequential` that also knows its receptive field."""

    def input_span(self, span: Span) -> Span:
        """Inputs that outputs `span` depend on, per axis."""
        for module in reversed(list(self)):
            span = input_span(module, span)
        return span


def input_span(module: nn.Module, span: Span) -> Span:
    """Inputs of `module` that its outputs `span` depend on; pointwise layers depend on the same positions.

    Raises:
        TypeError: the layer is neither pointwise nor tells its span, so chunked coding would not be exact.
    """
    if isinstance(module, POINTWISE):
        return span
    spanned = getattr(module, "input_span", None)
    if spanned is None:
        raise TypeError(f"{type(module).__name__} has no input_span: its outputs may depend on the whole signal")
    return spanned(span)
