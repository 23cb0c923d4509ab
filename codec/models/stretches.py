"""Long recordings a stretch at a time: memory for what goes in and comes out, not for every layer between."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from codec.models.chunking import SpanMap, encode_grid

STRETCH = 3000  # outputs at once: a minute of speech in units of 20 ms


def in_stretches(network: Callable[[Tensor], Tensor], signal: Tensor, *, needs: SpanMap, stride: int = 1) -> Tensor:
    """What `network` makes of `signal` `[b, d, time]`, `STRETCH` of its outputs at a time: the same, but for rounding.

    Args:
        needs: the inputs that an interval of outputs depends on.
        stride: inputs for one output, of which `time` is a multiple.
    """
    time = signal.shape[-1]
    if time <= STRETCH * stride:
        return network(signal)
    outputs: Tensor | None = None
    for chunk in encode_grid((time,), factor=stride, step=STRETCH, needs=needs):
        (source,), (target,) = chunk.source, chunk.target
        first = source.start // stride
        found = network(signal[..., source])[..., target.start - first : target.stop - first]
        if outputs is None:
            outputs = found.new_empty(*found.shape[:-1], time // stride)
        outputs[..., target] = found
    assert outputs is not None
    return outputs
