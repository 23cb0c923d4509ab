"""Between sound and frames of its spectrum, at a frame rate that a network can afford."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from codec.core.overlap import Span, convolution_span
from codec.core.precision import float32_island
from codec.core.spectral import overlap_add

COMPRESSION = 0.3
FLOOR = 1e-4


class SpectrumFrames(nn.Module):
    """Compressed complex spectra of Hann windows, one frame every `hop` samples.

    A frame's window lies around its hop, or ends with it if `causal`; outside the signal there is silence. Spectra z
    become z |z|^-0.7: the magnitude to the power of 0.3, near to how loud it sounds, with the phase as it is.

    Shapes: signal `[b, c, time]`, time a multiple of `hop`, to `[b, num_features, time / hop]`, float32.
    """

    def __init__(self, *, hop: int, window: int, channels: int, causal: bool = False):
        super().__init__()
        self.hop, self.window = hop, window
        total = window - hop
        self.pad_left = total if causal else total // 2
        self.pad_right = total - self.pad_left
        self.num_features = 2 * channels * (window // 2 + 1)
        self.hann: Tensor
        self.register_buffer("hann", torch.hann_window(window), persistent=False)

    def forward(self, signal: Tensor) -> Tensor:
        with float32_island(signal.device.type):
            padded = nn.functional.pad(signal.to(self.hann.dtype), (self.pad_left, self.pad_right))
            spectrum = torch.fft.rfft(padded.unfold(-1, self.window, self.hop) * self.hann)
            power = spectrum.real.square() + spectrum.imag.square()
            scale = (power + FLOOR**2).pow((COMPRESSION - 1) / 2)
            parts = torch.stack((spectrum.real * scale, spectrum.imag * scale), 2)  # [b, c, 2, frames, bins]
            return parts.permute(0, 1, 2, 4, 3).flatten(1, 3)

    def input_span(self, span: Span) -> Span:
        """Samples that frames `span` depend on."""
        return convolution_span(span, kernel=self.window, stride=self.hop, dilation=1, pad_left=self.pad_left)


class InverseFrames(nn.Module):
    """Sound from frames of compressed complex spectra: expansion, inverse transform, window, overlap and add.

    The features are those of `SpectrumFrames`, so that spectra pass through both unchanged; every input frame holds
    `per_frame` spectra, `hop` samples apart, whose windows lie as those of `SpectrumFrames` do.

    Shapes: `[b, num_features, frames]` to `[b, c, frames * per_frame * hop]`, float32.
    """

    def __init__(self, *, hop: int, window: int, channels: int, per_frame: int = 1, causal: bool = False):
        super().__init__()
        if window % hop:
            raise ValueError(f"a window of {window} samples is not a multiple of its hop of {hop}: make it one")
        self.hop, self.window, self.channels, self.per_frame = hop, window, channels, per_frame
        total = window - hop
        self.trim_left = 0 if causal else total // 2
        self.bins = window // 2 + 1
        self.num_features = 2 * channels * per_frame * self.bins
        self.synthesis: Tensor
        hann = torch.hann_window(window)
        overlap = hann.square().unflatten(0, (-1, hop)).sum(0)  # of the windows that meet at a sample
        self.register_buffer("synthesis", hann / overlap.repeat(window // hop), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        with float32_island(features.device.type):
            parts = features.to(self.synthesis.dtype).unflatten(1, (self.channels, self.per_frame, 2, self.bins))
            parts = parts.permute(0, 1, 5, 2, 4, 3).flatten(2, 3)  # [b, c, spectra, bins, 2]
            expansion = parts.square().sum(-1, keepdim=True).pow((1 / COMPRESSION - 1) / 2)
            spectrum = torch.view_as_complex((parts * expansion).contiguous())
            pieces = (torch.fft.irfft(spectrum, self.window) * self.synthesis).unflatten(-1, (-1, self.hop))
            return overlap_add(pieces)[..., self.trim_left : self.trim_left + spectrum.shape[2] * self.hop]

    def input_span(self, span: Span) -> Span:
        """Input frames that samples `span` depend on."""
        first = span.start + self.trim_left - self.window + 1
        last = span.stop - 1 + self.trim_left
        step = self.hop * self.per_frame
        return Span(-(-first // self.hop) * self.hop // step, last // step + 1)
