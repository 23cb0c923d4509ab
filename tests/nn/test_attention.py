"""Attention within windows, against an obvious loop over them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from codec.core.errors import UserError
from codec.core.overlap import Span
from codec.nn import WindowAttention


def _position_by_position(layer: WindowAttention, signal: Tensor) -> Tensor:
    """One position attends to the others of its window, one at a time, in one axis or two."""
    out = signal.clone()
    rows = layer.norm(signal)[0].flatten(1).T
    places = torch.cartesian_prod(*(torch.arange(extent) for extent in signal.shape[2:])).view(len(rows), -1)
    strides = torch.tensor([layer.window**axis for axis in reversed(range(signal.dim() - 2))])
    rows = rows + layer.place[(places % layer.window * strides).sum(1)]
    queries, keys, values = layer.project_in(rows).unflatten(1, (3, layer.num_heads, -1)).unbind(1)
    for index, place in enumerate(places):
        same = (places // layer.window == place // layer.window).all(1)
        scores = torch.einsum("hd,nhd->hn", queries[index], keys[same]) / keys.shape[-1] ** 0.5
        mixed = torch.einsum("hn,nhd->hd", scores.softmax(1), values[same]).flatten()
        out[(0, slice(None), *place.tolist())] += layer.project_out(mixed)
    return out


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 2), st.integers(1, 4), st.lists(st.integers(1, 7), min_size=2, max_size=2))
def test_window_attention_is_a_loop_over_positions(ndim, window, size):
    torch.manual_seed(0)
    layer = WindowAttention(64, ndim=ndim, window=window)
    signal = torch.randn(1, 64, *size[:ndim])
    with torch.no_grad():
        torch.testing.assert_close(layer(signal), _position_by_position(layer, signal), rtol=0, atol=1e-5)


def test_outputs_depend_on_whole_windows_and_on_nothing_else():
    layer = WindowAttention(32, ndim=1, window=4)
    signal = torch.randn(1, 32, 18, requires_grad=True)
    layer(signal)[0, :, 6].sum().backward()
    assert signal.grad is not None
    touched = signal.grad.abs().sum((0, 1)).nonzero()
    assert layer.input_span(Span(6, 7)) == Span(int(touched.min()), int(touched.max()) + 1) == Span(4, 8)


def test_samples_of_a_batch_do_not_see_each_other():
    layer = WindowAttention(32, ndim=2, window=3)
    signal = torch.randn(3, 32, 5, 7)
    with torch.no_grad():
        torch.testing.assert_close(layer(signal), torch.cat([layer(row) for row in signal.split(1)]))


def test_heads_must_divide_the_channels():
    with pytest.raises(UserError, match="48"):
        WindowAttention(48, ndim=1, window=4)
