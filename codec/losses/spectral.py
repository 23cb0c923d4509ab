"""Spectral losses for sound, at several resolutions because no one window sees both pitch and attacks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from codec.core.precision import float32_island
from codec.core.spectral import magnitude, mel_filters, real_spectrum
from codec.losses.padding import without_padding

MEL_SCALES = ((128, 10), (256, 20), (512, 40), (1024, 80), (2048, 160))
MEL_FLOOR = 1e-3
STFT_WINDOWS = (256, 512, 1024, 2048)
COMPLEX_WINDOWS = (320, 640)
COMPRESSION = 0.3
COMPLEX_FLOOR = 1e-2


class MelLoss(nn.Module):
    """Mean absolute difference of log10 mel magnitudes over (window, mels) scales, hop a quarter window.

    As in Kumar et al. 2023 (section 3.4), without their shortest windows and with a floor of 1e-3, not 1e-5: the
    gradient of the logarithm grows as the magnitude falls, and below that floor near-silent frames decide how the
    network learns, while speech comes out 11 dB too quiet (measured). Shapes: `[b, c, time]` twice to a 0-d loss.
    Padding must be equal in both signals to count for nothing.

    Args:
        scales: pairs of a window in samples and its number of mel filters.
        floor: magnitudes below it count as it.
        sparse: in training, every second window, counted from a random sample on: half the cost.
    """

    def __init__(
        self,
        sample_rate: int,
        *,
        scales: tuple[tuple[int, int], ...] = MEL_SCALES,
        floor: float = MEL_FLOOR,
        sparse: bool = False,
    ):
        super().__init__()
        self.windows = [window for window, _ in scales]
        self.floor, self.sparse = floor, sparse
        for window, num_mels in scales:
            filters = mel_filters(sample_rate, window=window, num_mels=num_mels)
            self.register_buffer(f"filters_{window}", filters, persistent=False)

    def forward(self, reconstruction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        with float32_island(target.device.type):
            reconstruction, target = without_padding(reconstruction, target, mask)
            sparse = self.sparse and self.training
            if sparse:
                reconstruction, target = _from_anywhere(reconstruction, target, window=max(self.windows))
            differences = [
                (self._log_mel(reconstruction, window, sparse) - self._log_mel(target, window, sparse)).abs().mean()
                for window in self.windows
            ]
            return torch.stack(differences).mean()

    def _log_mel(self, signal: Tensor, window: int, sparse: bool) -> Tensor:
        hop = window // 2 if sparse else window // 4
        mel = self.get_buffer(f"filters_{window}") @ magnitude(signal, window=window, hop=hop)
        return mel.clamp_min(self.floor).log10()


class SpectralConvergence(nn.Module):
    """Frobenius norm of the magnitude difference over that of the target (Arik et al. 2019, eq. 2), mean over windows.

    Shapes: `[b, c, time]` twice to a 0-d loss.
    """

    def __init__(self, *, windows: tuple[int, ...] = STFT_WINDOWS):
        super().__init__()
        self.windows = windows

    def forward(self, reconstruction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        with float32_island(target.device.type):
            reconstruction, target = without_padding(reconstruction, target, mask)
            ratios = []
            for window in self.windows:
                wanted = magnitude(target, window=window, hop=window // 4)
                got = magnitude(reconstruction, window=window, hop=window // 4)
                ratios.append((wanted - got).norm() / wanted.norm().clamp_min(1e-3))
            return torch.stack(ratios).mean()


class ComplexSpectrumLoss(nn.Module):
    """Mean absolute difference of compressed complex spectra z |z|^-0.7, real and imaginary part, mean over windows.

    As in Ephrat et al. 2018 (section 3.2, with its power of 0.3). It alone of the spectral losses hears phase, which a
    decoder of spectra learns very slowly from magnitudes. Shapes: `[b, c, time]` twice to a 0-d loss.

    Args:
        windows: in samples.
        sparse: in training, every second window, counted from a random sample on: half the cost.
    """

    def __init__(self, *, windows: tuple[int, ...] = COMPLEX_WINDOWS, sparse: bool = False):
        super().__init__()
        self.windows, self.sparse = windows, sparse

    def forward(self, reconstruction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        with float32_island(target.device.type):
            reconstruction, target = without_padding(reconstruction, target, mask)
            sparse = self.sparse and self.training
            if sparse:
                reconstruction, target = _from_anywhere(reconstruction, target, window=max(self.windows))
            hops = 2 if sparse else 4
            differences = [
                (_compressed(reconstruction, window, hops) - _compressed(target, window, hops)).abs().mean()
                for window in self.windows
            ]
            return torch.stack(differences).mean()


def _from_anywhere(reconstruction: Tensor, target: Tensor, *, window: int) -> tuple[Tensor, Tensor]:
    """Both from the same random sample of the first half `window` on; whole where less than a window would stay."""
    size = target.shape[-1] - window // 2
    if size < window:
        return reconstruction, target
    device = target.device
    samples = torch.randint(window // 2, (), device=device) + torch.arange(size, device=device)
    return reconstruction[..., samples], target[..., samples]


def _compressed(signal: Tensor, window: int, hops: int) -> Tensor:
    """`[b, c, frames, bins, 2]`, the frames a window / `hops` apart, first every one of the first hop."""
    starts = range(0, window, window // hops)
    rows = [signal[..., start : start + (signal.shape[-1] - start) // window * window] for start in starts]
    frames = torch.cat([row.unflatten(-1, (-1, window)) for row in rows], -2)
    spectrum = real_spectrum(frames * torch.hann_window(window, device=signal.device))
    return spectrum * (spectrum.square().sum(-1, keepdim=True) + COMPLEX_FLOOR**2) ** ((COMPRESSION - 1) / 2)
