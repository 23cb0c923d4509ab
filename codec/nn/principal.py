"""A linear transform of spectra beside each network of a codec: the part of the work that need not be learnt.

A network that starts at random and is taught by losses of magnitudes first finds envelopes, and hardly ever the
waveform under them. The best linear map of spectra to so many latents is known in closed form (principal components),
and so is the best one back; networks beside them begin by adding nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.core import dist
from codec.core.overlap import Span
from codec.nn.chain import Chain
from codec.nn.convnext import FrameLinear
from codec.nn.frames import InverseFrames, SpectrumFrames

ENVELOPE_POWER = 2.0
RIDGE = 1e-5  # of the mean power of latents, added so that those without any have a map, too


class NeighbourLinear(nn.Linear):
    """The same linear map of every frame of `[b, channels, time]` with one neighbour on either side.

    The neighbours are the two frames before if `causal`. Frames outside the signal are zero.
    """

    def __init__(self, channels_in: int, channels_out: int, *, causal: bool = False):
        super().__init__(3 * channels_in, channels_out)
        self.before = 2 if causal else 1

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(self.neighbourhoods(input)).transpose(1, 2)

    def neighbourhoods(self, frames: Tensor) -> Tensor:
        """What the map sees for each frame, `[b, time, 3 * channels_in]`."""
        padded = F.pad(frames, (self.before, 2 - self.before))
        return torch.cat((padded[..., :-2], padded[..., 1:-1], padded[..., 2:]), 1).transpose(1, 2)

    def input_span(self, span: Span) -> Span:
        """The same frames and their neighbours."""
        return Span(span.start - self.before, span.stop + 2 - self.before)


class Beside(nn.Module):
    """The sum of a linear map and a network, whose last layer starts at zero.

    Shapes: `[b, channels_in, time]` to `[b, channels_out, time]`, both of them alike.
    """

    def __init__(self, linear: FrameLinear | NeighbourLinear, network: Chain):
        super().__init__()
        self.linear, self.network = linear, network
        last = network[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, frames: Tensor) -> Tensor:
        return self.linear(frames) + self.network(frames)

    def input_span(self, span: Span) -> Span:
        """What either depends on."""
        return self.linear.input_span(span).joined(self.network.input_span(span))


@torch.no_grad()
def find_transform(
    encoder: Chain,
    decoder: Chain,
    signals: Sequence[Tensor],
    *,
    masks: Sequence[Tensor] | None = None,
    envelope_latents: int = 0,
) -> None:
    """Set the linear maps of a spectral encoder and decoder to those of least squared error in compressed spectra.

    Latents become principal components: the first `envelope_latents` of mel magnitudes, `ENVELOPE_POWER` times as
    strong together as the others, those of compressed complex spectra, whose mean square is 1. The way back is the
    linear regression of spectra from neighbouring latents. With more ranks the signals of all count; all must call it.

    Args:
        encoder, decoder: of a backend with `transform`.
        signals: `[b, channels, time]` each, time a multiple of the hop; together many more frames than features.
        masks: `[b, frames]` each, True where a frame counts; all do if None.
    """
    frames, analysis = encoder[0], encoder[1]
    synthesis, inverse = decoder[0], decoder[1]
    assert isinstance(frames, SpectrumFrames) and isinstance(inverse, InverseFrames)
    assert isinstance(analysis, Beside) and isinstance(synthesis, Beside)
    back = synthesis.linear
    assert isinstance(back, NeighbourLinear)
    pairs = list(zip(signals, [None] * len(signals) if masks is None else masks, strict=True))
    forth = _Moments()
    for signal, mask in pairs:
        features = _rows(frames(signal).transpose(1, 2), mask)
        forth.add(features, features)
    parts, bands = slice(frames.num_parts), slice(frames.num_parts, None)
    centre = forth.mean[bands]
    waveform = _components(forth.product[parts, parts], analysis.linear.out_features - envelope_latents)
    envelope = _components(forth.product[bands, bands] - torch.outer(centre, centre), envelope_latents)
    envelope = envelope * (ENVELOPE_POWER * len(waveform) / max(1, envelope_latents)) ** 0.5
    weight = torch.block_diag(waveform, envelope).roll(envelope_latents, 0)
    _set(analysis.linear, weight, torch.cat((-envelope @ centre, waveform.new_zeros(len(waveform)))))
    own, cross = _Moments(), _Moments()
    for signal, mask in pairs:
        seen = _rows(back.neighbourhoods(analysis.linear(frames(signal))), mask)
        own.add(seen, seen)
        cross.add(seen, _rows(inverse.features(signal).transpose(1, 2), mask))
    ridge = RIDGE * own.product.diagonal().mean() * torch.eye(len(own.product)).to(own.product)
    _set(back, torch.linalg.solve(own.product + ridge, cross.product).t(), torch.zeros_like(back.bias))


class _Moments:
    """Means over rows of all ranks, float64: `mean` `[d]` of the first of two, `product` `[d, e]` of both."""

    def __init__(self) -> None:
        self._count, self._sum, self._products = torch.zeros(()), torch.zeros(()), torch.zeros(())

    def add(self, first: Tensor, second: Tensor) -> None:
        """Count rows `[n, d]` and `[n, e]`; every rank must call it."""
        first, second = first.double(), second.double()
        self._count = self._count.to(first) + dist.all_reduce_sum(first.new_tensor(len(first)))
        self._sum = self._sum.to(first) + dist.all_reduce_sum(first.sum(0))
        self._products = self._products.to(first) + dist.all_reduce_sum(first.t() @ second)

    @property
    def mean(self) -> Tensor:
        return self._sum / self._count.clamp_min(1)

    @property
    def product(self) -> Tensor:
        return self._products / self._count.clamp_min(1)


def _rows(frames: Tensor, mask: Tensor | None) -> Tensor:
    """Those of `frames` `[b, n, d]` that `mask` `[b, n]` keeps, `[m, d]`."""
    return frames.flatten(0, 1) if mask is None else frames[mask]


def _components(moments: Tensor, number: int) -> Tensor:
    """Principal components `[number, d]` of rows with such `moments` `[d, d]`, on which their mean square is 1."""
    powers, components = torch.linalg.eigh(moments)
    assert number <= len(powers)
    strongest = slice(len(powers) - number, None)
    scale = powers[strongest].sum().clamp_min(1e-12).rsqrt() * number**0.5
    return components[:, strongest].flip(1).t() * scale


def _set(linear: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    linear.weight.copy_(dist.broadcast(weight.to(linear.weight)))
    linear.bias.copy_(dist.broadcast(bias.to(linear.bias)))
