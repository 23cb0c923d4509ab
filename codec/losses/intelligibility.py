"""How far the envelopes of speech are followed, band by band: STOI as a loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from codec.core.precision import float32_island
from codec.core.spectral import magnitude
from codec.losses.padding import without_padding
from codec.losses.quiet import quietest_power

NUM_BANDS = 15
LOWEST_HZ = 150.0
SEGMENT = 30
"""Frames, 384 ms."""
DYNAMIC_RANGE_DB = 40.0
CLIP = 1 + 10 ** (15 / 20)
"""Signal-to-distortion ratio of -15 dB."""


class IntelligibilityLoss(nn.Module):
    """1 - STOI (Taal et al. 2011): minus the correlation of third-octave envelopes over 384 ms, mean over all.

    Unlike the measure, it works at the signal's own rate, keeps quiet frames, and leaves out the segments that are
    quiet from end to end (40 dB under the loudest one, or under the quietest speech).

    Shapes: `[b, c, time]` twice to a 0-d loss.
    """

    def __init__(self, sample_rate: int):
        super().__init__()
        self.window = 2 * round(0.0128 * sample_rate)
        frequencies = torch.linspace(0, sample_rate / 2, self.window // 2 + 1)
        centres = LOWEST_HZ * 2 ** (torch.arange(NUM_BANDS) / 3)
        low, high = centres[:, None] * 2 ** (-1 / 6), centres[:, None] * 2 ** (1 / 6)
        self.bands: Tensor
        self.register_buffer("bands", ((frequencies >= low) & (frequencies < high)).float(), persistent=False)

    def forward(self, reconstruction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        with float32_island(target.device.type):
            reconstruction, target = without_padding(reconstruction, target, mask)
            wanted, got = self._segments(target), self._segments(reconstruction)
            energy = wanted.square().sum(-1)
            got = got * (energy / got.square().sum(-1).clamp_min(1e-9)).sqrt()[..., None]
            got = torch.minimum(got, CLIP * wanted)
            correlation = _centred(got).mul(_centred(wanted)).sum(-1)
            loud = energy.sum(2)
            heard = loud > 10 ** (-DYNAMIC_RANGE_DB / 10) * loud.amax(-1, keepdim=True)
            weight = (heard & (loud > SEGMENT * quietest_power(self.window)))[:, :, None].float().expand_as(correlation)
            return ((1 - correlation) * weight).sum() / weight.sum().clamp_min(1)

    def _segments(self, signal: Tensor) -> Tensor:
        """Envelopes `[b, c, bands, segments, frames]`, a segment every four frames."""
        power = magnitude(signal, window=self.window, hop=self.window // 2).square()
        envelopes = (self.bands @ power + 1e-9).sqrt()
        short = SEGMENT - envelopes.shape[-1]
        if short > 0:
            envelopes = nn.functional.pad(envelopes, (0, short), value=1e-9**0.5)
        return envelopes.unfold(-1, SEGMENT, 4)


def _centred(envelopes: Tensor) -> Tensor:
    """Without their mean and of length 1."""
    centred = envelopes - envelopes.mean(-1, keepdim=True)
    return centred / (centred.square().sum(-1, keepdim=True) + 1e-9).sqrt()
