"""Between sound and frames of its spectrum, at a frame rate that a network can afford."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from codec.core.overlap import Span, convolution_span
from codec.core.precision import float32_island
from codec.core.spectral import mel_filters, overlap_add

COMPRESSION = 0.3
FLOOR = 1e-4
TINY = 1e-12  # of power: so that silence has a derivative


class SpectrumFrames(nn.Module):
    """Compressed complex spectra of Hann windows, one frame every `hop` samples.

    A frame's window lies around its hop, or ends with it if `causal`; outside the signal there is silence. Spectra z
    become z |z|^(p - 1), p the `compression`: the magnitude to a power of 0.3 is near to how loud it sounds, with the
    phase as it is. After them come magnitudes in `num_mels` mel bands of each channel, to the power of 0.3.

    Shapes: signal `[b, c, time]`, time a multiple of `hop`, to `[b, num_features, time / hop]`, float32.
    """

    def __init__(
        self,
        *,
        hop: int,
        window: int,
        channels: int,
        causal: bool = False,
        compression: float = COMPRESSION,
        num_mels: int = 0,
        sample_rate: int = 16000,
    ):
        super().__init__()
        self.hop, self.window, self.compression, self.num_mels = hop, window, compression, num_mels
        total = window - hop
        self.pad_left = total if causal else total // 2
        self.pad_right = total - self.pad_left
        self.num_parts = 2 * channels * (window // 2 + 1)
        self.num_features = self.num_parts + channels * num_mels
        self.hann: Tensor
        self.filters: Tensor
        if num_mels:
            filters = mel_filters(sample_rate, window=window, num_mels=num_mels)
            self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("hann", torch.hann_window(window), persistent=False)

    def forward(self, signal: Tensor) -> Tensor:
        with float32_island(signal.device.type):
            padded = nn.functional.pad(signal.to(self.hann.dtype), (self.pad_left, self.pad_right))
            parts = _compressed(padded, self.hann, self.hop, self.compression)
            if not self.num_mels:
                return parts.flatten(1, 3)
            magnitudes = (parts.square().sum(2) + TINY).pow(1 / self.compression / 2)
            mels = (self.filters @ magnitudes).clamp_min(TINY).pow(COMPRESSION)
            return torch.cat((parts.flatten(1, 3), mels.flatten(1, 2)), 1)

    def input_span(self, span: Span) -> Span:
        """Samples that frames `span` depend on."""
        return convolution_span(span, kernel=self.window, stride=self.hop, dilation=1, pad_left=self.pad_left)


class InverseFrames(nn.Module):
    """Sound from frames of compressed complex spectra: expansion, inverse transform, window, overlap and add.

    The features are those of `SpectrumFrames`, so that spectra pass through both unchanged; every input frame holds
    `per_frame` spectra, `hop` samples apart, whose windows lie as those of `SpectrumFrames` do; if `causal`, they begin
    with their hop.

    Shapes: `[b, num_features, frames]` to `[b, c, frames * per_frame * hop]`, float32.
    """

    def __init__(
        self,
        *,
        hop: int,
        window: int,
        channels: int,
        per_frame: int = 1,
        causal: bool = False,
        compression: float = COMPRESSION,
    ):
        super().__init__()
        if window % hop:
            raise ValueError(f"a window of {window} samples is not a multiple of its hop of {hop}: make it one")
        self.hop, self.window, self.channels, self.per_frame = hop, window, channels, per_frame
        self.compression = compression
        total = window - hop
        self.trim_left = 0 if causal else total // 2
        self.bins = window // 2 + 1
        self.num_features = 2 * channels * per_frame * self.bins
        self.hann: Tensor
        self.synthesis: Tensor
        hann = torch.hann_window(window)
        self.register_buffer("hann", hann, persistent=False)
        overlap = hann.square().unflatten(0, (-1, hop)).sum(0)  # of the windows that meet at a sample
        self.register_buffer("synthesis", hann / overlap.repeat(window // hop), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        with float32_island(features.device.type):
            parts = features.to(self.synthesis.dtype).unflatten(1, (self.channels, self.per_frame, 2, self.bins))
            parts = parts.permute(0, 1, 5, 2, 4, 3).flatten(2, 3)  # [b, c, spectra, bins, 2]
            expansion = (parts.square().sum(-1, keepdim=True) + TINY).pow((1 / self.compression - 1) / 2)
            spectrum = torch.view_as_complex((parts * expansion).contiguous())
            pieces = (torch.fft.irfft(spectrum, self.window) * self.synthesis).unflatten(-1, (-1, self.hop))
            return overlap_add(pieces)[..., self.trim_left : self.trim_left + spectrum.shape[2] * self.hop]

    def features(self, signal: Tensor) -> Tensor:
        """The features `[b, num_features, frames]` that become `signal` `[b, c, frames * per_frame * hop]`, float32."""
        with float32_island(signal.device.type):
            pad_right = self.window - self.hop - self.trim_left
            padded = nn.functional.pad(signal.to(self.hann.dtype), (self.trim_left, pad_right))
            parts = _compressed(padded, self.hann, self.hop, self.compression)
            return parts.unflatten(-1, (-1, self.per_frame)).permute(0, 1, 5, 2, 3, 4).flatten(1, 4)

    def input_span(self, span: Span) -> Span:
        """Input frames that samples `span` depend on."""
        first = span.start + self.trim_left - self.window + 1
        last = span.stop - 1 + self.trim_left
        step = self.hop * self.per_frame
        return Span(-(-first // self.hop) * self.hop // step, last // step + 1)


def _compressed(signal: Tensor, window: Tensor, hop: int, compression: float) -> Tensor:
    """Compressed spectra `[b, c, 2, bins, frames]` of windows of `signal` `[b, c, time]` that begin `hop` apart."""
    spectrum = torch.fft.rfft(signal.unfold(-1, len(window), hop) * window)
    power = spectrum.real.square() + spectrum.imag.square()
    scale = (power + FLOOR**2).pow((compression - 1) / 2)
    return torch.stack((spectrum.real * scale, spectrum.imag * scale), 2).transpose(3, 4)
