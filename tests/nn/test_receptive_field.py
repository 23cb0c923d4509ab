"""A layer's outputs depend on the inputs that it says, and on no others."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from codec.core.overlap import Span
from codec.nn import (
    Backbone,
    Chain,
    ChannelNorm,
    Conv,
    ResidualUnit,
    Stage,
    UpsamplingConv,
    build_decoder,
    build_encoder,
    input_span,
)

LENGTH = 96


@st.composite
def layers(draw, ndim: int = 1):
    causal = draw(st.booleans())
    dilation = draw(st.integers(1, 4))
    stride = draw(st.integers(1, 4))
    kernel = draw(st.integers(1, 7))
    return draw(
        st.sampled_from(
            [
                Conv(2, 2, kernel, ndim=ndim, dilation=dilation, causal=causal),
                Conv(2, 2, kernel + stride - 1, ndim=ndim, stride=stride, causal=causal),
                UpsamplingConv(2, 2, kernel + stride - 1, ndim=ndim, stride=stride, causal=causal),
                ResidualUnit(2, ndim=ndim, kernel=3, dilation=dilation, causal=causal, activation="elu"),
                nn.ELU(),
                ChannelNorm(),
            ]
        )
    )


def _touched(network: nn.Module, position: int, ndim: int) -> Span:
    """Inputs with a nonzero gradient from the output at `position` (on the diagonal in 2D): the slow oracle."""
    signal = torch.randn(1, 2, *(LENGTH,) * ndim, dtype=torch.float64, requires_grad=True)
    output = network(signal)
    output[(0, slice(None), *(position,) * ndim)].sum().backward()
    assert signal.grad is not None
    nonzero = signal.grad.abs().sum((0, 1)).nonzero()
    return Span(int(nonzero.min()), int(nonzero.max()) + 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(layers(), min_size=1, max_size=4), st.data())
def test_outputs_depend_on_exactly_the_span_that_layers_compose_to(parts, data):
    network = Chain(*parts).double()
    size = network(torch.zeros(1, 2, LENGTH, dtype=torch.float64)).shape[-1]
    position = data.draw(st.integers(0, size - 1))
    said = network.input_span(Span(position, position + 1)).clipped(LENGTH)
    touched = _touched(network, position, 1)
    assert said.start <= touched.start and touched.stop <= said.stop


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("ndim", [1, 2])
def test_the_span_of_one_convolution_is_tight(ndim, causal):
    conv = Conv(2, 2, 5, ndim=ndim, dilation=2, causal=causal).double()
    assert conv.input_span(Span(40, 41)) == _touched(conv, 40, ndim)
    up = UpsamplingConv(2, 2, 8, ndim=ndim, stride=4, causal=causal).double()
    assert up.input_span(Span(41, 42)) == _touched(up, 41, ndim)


@pytest.mark.parametrize("ndim", [1, 2])
def test_causal_networks_never_look_past_their_own_stride(ndim):
    backbone = Backbone(stages=(Stage(stride=2, width=4, dilations=(1, 3)), Stage(stride=3, width=4)), causal=True)
    encoder = build_encoder(backbone, channels=2, latent_dim=4, ndim=ndim)
    decoder = build_decoder(backbone, channels=2, latent_dim=2, ndim=ndim)
    assert encoder.input_span(Span(9, 10)).stop == 10 * 6
    assert decoder.input_span(Span(54, 60)).stop == 10


@pytest.mark.parametrize("ndim", [1, 2])
def test_a_1d_convolution_is_torchs_own(ndim):
    conv = Conv(3, 5, 4, ndim=ndim, stride=2)
    torch_conv = (nn.Conv1d if ndim == 1 else nn.Conv2d)(3, 5, 4, stride=2, padding=1)
    torch_conv.load_state_dict(conv.state_dict())
    signal = torch.randn(2, 3, *(16,) * ndim)
    torch.testing.assert_close(conv(signal), torch_conv(signal))
    up = UpsamplingConv(3, 5, 4, ndim=ndim, stride=2)
    torch_up = (nn.ConvTranspose1d if ndim == 1 else nn.ConvTranspose2d)(3, 5, 4, stride=2, padding=1)
    torch_up.load_state_dict(up.state_dict())
    torch.testing.assert_close(up(signal), torch_up(signal))


def test_a_layer_that_sees_everything_is_refused():
    with pytest.raises(TypeError, match="GroupNorm"):
        input_span(nn.GroupNorm(1, 2), Span(0, 1))


def test_kernels_that_leave_gaps_are_refused():
    with pytest.raises(ValueError, match="widen"):
        Conv(1, 1, 1, ndim=1, stride=2)
    with pytest.raises(ValueError, match="widen"):
        UpsamplingConv(1, 1, 2, ndim=1, stride=3)


def test_normalised_latents_are_alike_for_loud_and_quiet_sound():
    loud = torch.randn(1, 8, 50)
    norm = ChannelNorm()
    torch.testing.assert_close(norm(100 * loud).square().mean(1), torch.ones(1, 50), rtol=1e-4, atol=0)  # floor / 100^2
    torch.testing.assert_close(norm(100 * loud), norm(10 * loud), rtol=1e-2, atol=1e-2)  # floor / 10^2
    assert float(norm(1e-3 * loud).abs().max()) < 0.1
    config = Backbone(stages=(Stage(stride=2, width=4),), normalise_latents=True)
    encoder = build_encoder(config, channels=1, latent_dim=6, ndim=1)
    assert float(encoder(1e4 * torch.randn(1, 1, 64)).detach().square().mean(1).max()) <= 1.0 + 1e-5
