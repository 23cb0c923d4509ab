"""How loud a difference sounds: a psychoacoustic loss for speech, in the manner of PESQ."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from codec.core.precision import float32_island
from codec.core.spectral import magnitude
from codec.losses.padding import without_padding
from codec.losses.quiet import quietest_power

LISTENING_LEVEL_DB = 79.0
"""Of active speech, in dB of sound pressure."""
BAND_WIDTH_BARK = 0.5
ZWICKER_POWER = 0.23
LARGEST_DISTURBANCE = 45.0
"""Of a frame: from there on it is as bad as can be."""
ASYMMETRY_WEIGHT = 0.309
"""Of the asymmetrical disturbance for each symmetrical one: 0.0309 to 0.1 in the score."""


class LoudnessLoss(nn.Module):
    """Mean symmetrical and asymmetrical disturbance of loudness over frames and critical bands.

    The perceptual model of ITU-T P.862 as a loss (Martín-Doñas et al. 2018), written down afresh: Hann windows of
    32 ms, power in bands half a Bark wide (Traunmüller 1990), threshold in quiet (Terhardt 1979), Zwicker's loudness.
    Differences below a quarter of the smaller loudness are masked; what is added counts more than what is missing.
    Both signals are brought to the listening level by the target's power between 350 and 3,250 Hz, or that of the
    quietest speech if it is less: a pause does not become loud for want of a voice.

    Shapes: `[b, c, time]` twice to a 0-d loss.
    """

    def __init__(self, sample_rate: int):
        super().__init__()
        self.window = round(0.032 * sample_rate)
        frequencies = np.linspace(0, sample_rate / 2, self.window // 2 + 1)[1:]  # nobody hears a constant
        band = np.maximum(26.81 * frequencies / (1960 + frequencies) - 0.53, 0) // BAND_WIDTH_BARK
        filters = (band == np.unique(band)[:, None]).astype(np.float32)
        centres = filters @ frequencies / filters.sum(1) / 1000
        quiet = 3.64 * centres**-0.8 - 6.5 * np.exp(-0.6 * (centres - 3.3) ** 2) + 1e-3 * centres**4
        threshold, voice = 10 ** (quiet / 10), (centres > 0.35) & (centres < 3.25)
        self.filters: Tensor
        self.threshold: Tensor
        self.voice: Tensor
        self.register_buffer("filters", torch.tensor(filters), persistent=False)
        self.register_buffer("threshold", torch.tensor(threshold[:, None], dtype=torch.float32), persistent=False)
        self.register_buffer("voice", torch.tensor(voice, dtype=torch.float32), persistent=False)

    def forward(self, reconstruction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        with float32_island(target.device.type):
            reconstruction, target = without_padding(reconstruction, target, mask)
            wanted, got = self._band_power(target), self._band_power(reconstruction)
            speech = torch.einsum("k,bckn->bcn", self.voice, wanted)
            active = speech > 1e-3 * speech.amax(-1, keepdim=True)
            level = (speech * active).sum(-1) / active.sum(-1).clamp_min(1)
            gain = 10 ** (LISTENING_LEVEL_DB / 10) / level.clamp_min(quietest_power(self.window))[..., None, None]
            wanted, got = wanted * gain, got * gain
            loud, heard = self._loudness(wanted), self._loudness(got)
            disturbance = ((heard - loud).abs() - 0.25 * torch.minimum(heard, loud)).relu()
            added = ((got + 50) / (wanted + 50)) ** 1.2
            asymmetry = torch.where(added < 3, 0, added.clamp_max(12)).detach()
            symmetrical = (disturbance.square().mean(-2) + 1e-6).sqrt().clamp_max(LARGEST_DISTURBANCE)
            asymmetrical = (disturbance * asymmetry).mean(-2).clamp_max(LARGEST_DISTURBANCE)
            return (symmetrical + ASYMMETRY_WEIGHT * asymmetrical).mean()

    def _band_power(self, signal: Tensor) -> Tensor:
        """`[b, c, bands, frames]`."""
        spectrum = magnitude(signal, window=self.window, hop=self.window // 2)
        return self.filters @ spectrum[..., 1:, :].square()

    def _loudness(self, power: Tensor) -> Tensor:
        """Zwicker's law (P.862, equation 8), in sone per band; nothing below the threshold."""
        rise = (0.5 + 0.5 * power / self.threshold).clamp_min(1) ** ZWICKER_POWER - 1
        return (self.threshold / 0.5) ** ZWICKER_POWER * rise
