"""What speech recognition looks at instead of samples: log mel spectra and cepstra, a hundred frames a second."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from codec.core.config import Config
from codec.core.errors import UserError
from codec.core.overlap import Span, tile
from codec.core.precision import float32_island
from codec.core.spectral import magnitude, mel_filters
from codec.nn.feature_program import ProgramConfig, ProgramFeatures

FLOOR = 1e-3  # of a mel magnitude: 60 dB below a full-scale tone
DELTA_REACH = 2  # frames on either side that a slope is fitted to
FRAMES_AT_ONCE = 6000  # a minute at 10 ms: spectra take many times the memory of what is kept of them
LEAST_DEVIATION = 0.1  # of a feature over a recording: what hardly moves is not blown up


class LogMelConfig(Config):
    """Log mel magnitudes.

    Attributes:
        window, hop_length: in samples.
        num_mels: filters from 0 Hz to half of the sample rate.
        normalise: bring every feature of a recording to mean 0 and deviation 1, which takes off the microphone and
            much of the speaker.
    """

    kind: Literal["log_mel"] = "log_mel"
    window: PositiveInt = 400
    hop_length: PositiveInt = 160
    num_mels: PositiveInt = 80
    normalise: bool = True

    @property
    def num_features(self) -> int:
        """Per frame."""
        return self.num_mels


class MfccConfig(Config):
    """Mel-frequency cepstral coefficients (Davis & Mermelstein 1980), with their slopes.

    Attributes:
        num_coefficients: of the cosine transform of the log mel magnitudes.
        deltas: how often slopes are taken: 2 gives velocity and acceleration beside the coefficients.
    """

    kind: Literal["mfcc"] = "mfcc"
    window: PositiveInt = 400
    hop_length: PositiveInt = 160
    num_mels: PositiveInt = 40
    num_coefficients: PositiveInt = 13
    deltas: NonNegativeInt = 2
    normalise: bool = True

    @property
    def num_features(self) -> int:
        """Per frame."""
        return self.num_coefficients * (1 + self.deltas)


FeatureConfig = Annotated[LogMelConfig | MfccConfig | ProgramConfig, Field(discriminator="kind")]


class Features(nn.Module):
    """Speech to features: `[b, 1, time]` at `sample_rate` Hz to `[b, num_features, time // hop_length]`, float32.

    Frame i is centred on the middle of the samples i x hop to (i + 1) x hop.

    Raises:
        UserError: features of a program that cannot be read.
    """

    def __init__(self, config: LogMelConfig | MfccConfig | ProgramConfig, *, sample_rate: int):
        super().__init__()
        self.config = config
        if isinstance(config, ProgramConfig):
            self.program = ProgramFeatures(config)
            return
        self.filters: Tensor
        self.cosines: Tensor | None
        filters = mel_filters(sample_rate, window=config.window, num_mels=config.num_mels)
        self.register_buffer("filters", filters, persistent=False)
        cosines = _cosines(config.num_coefficients, config.num_mels) if isinstance(config, MfccConfig) else None
        self.register_buffer("cosines", cosines, persistent=False)

    @torch.no_grad()
    def forward(self, signal: Tensor, mask: Tensor | None = None, *, warp: Tensor | None = None) -> Tensor:
        """Features of `signal`.

        Args:
            mask: `[b, time]`, True where the signal is real; frames that are not count for nothing.
            warp: factors `[b]` by which every frequency is multiplied, as a longer or shorter vocal tract does
                (Jaitly & Hinton 2013); None leaves them.

        Raises:
            UserError: a program that does not give what its config says, or that is asked to warp.
        """
        with float32_island(signal.device.type):
            features = self._extracted(signal[:, 0], warp)
            return normalised(features, self.frame_mask(mask)) if self.config.normalise else features

    def frame_mask(self, mask: Tensor | None) -> Tensor | None:
        """Which frames `[b, frames]` hold a real sample of `mask` `[b, time]`."""
        hop = self.config.hop_length
        return None if mask is None else mask[:, : mask.shape[1] // hop * hop].unflatten(1, (-1, hop)).any(2)

    def _extracted(self, signal: Tensor, warp: Tensor | None) -> Tensor:
        if not isinstance(self.config, ProgramConfig):
            spectra = self._log_mel(signal, warp)
            return self._cepstra(spectra) if isinstance(self.config, MfccConfig) else spectra
        if warp is not None:
            raise UserError("features of a program are not warped: set model.warp=0")
        return self.program(signal)

    def _log_mel(self, signal: Tensor, warp: Tensor | None) -> Tensor:
        assert not isinstance(self.config, ProgramConfig)
        hop, window = self.config.hop_length, self.config.window
        padded = F.pad(signal, (hop - hop // 2, hop))  # frame i is then around sample (i + 1) x hop
        reach = -(-window // (2 * hop))
        mels: list[Tensor] = []
        for frames in [span for (span,) in tile((signal.shape[-1] // hop,), FRAMES_AT_ONCE)] or [Span(0, 0)]:
            first = max(frames.start + 1 - reach, 0)
            samples = padded[..., first * hop : (frames.stop + reach) * hop]
            around = slice(frames.start + 1 - first, frames.stop + 1 - first)
            spectra = magnitude(samples, window=window, hop=hop)[..., around]
            mels.append(self.filters @ (spectra if warp is None else _warped(spectra, warp)))
        return torch.cat(mels, dim=-1).clamp_min_(FLOOR).log_()

    def _cepstra(self, spectra: Tensor) -> Tensor:
        assert isinstance(self.config, MfccConfig) and self.cosines is not None
        orders = [self.cosines @ spectra]
        for _ in range(self.config.deltas):
            orders.append(_slopes(orders[-1]))
        return torch.cat(orders, dim=1)


def _cosines(num_coefficients: int, num_mels: int) -> Tensor:
    """The first rows of the orthonormal cosine transform (type II)."""
    order = torch.arange(num_coefficients, dtype=torch.float64)[:, None]
    table = torch.cos(math.pi / num_mels * (torch.arange(num_mels) + 0.5) * order) * math.sqrt(2 / num_mels)
    table[0] /= math.sqrt(2)
    return table.float()


def _slopes(features: Tensor) -> Tensor:
    """Slope of the straight line through each frame's neighbours, by least squares; ends stand still."""
    reach = torch.arange(-DELTA_REACH, DELTA_REACH + 1, device=features.device, dtype=features.dtype)
    padded = F.pad(features, (DELTA_REACH, DELTA_REACH), mode="replicate")
    return padded.unfold(-1, len(reach), 1) @ (reach / reach.square().sum())


def _warped(spectra: Tensor, warp: Tensor) -> Tensor:
    """`spectra` `[b, bins, frames]` with what was at frequency f at f x warp, silent above the old end."""
    bins = spectra.shape[1]
    position = torch.arange(bins, device=spectra.device) / warp[:, None].to(spectra.device)
    lower = position.floor().clamp_max(bins - 1)
    share = (position - lower).clamp(0, 1)[..., None]
    padded = F.pad(spectra, (0, 0, 0, 1))

    def at(index: Tensor) -> Tensor:
        return padded.gather(1, index.long()[..., None].expand(-1, -1, spectra.shape[2]))

    mixed = at(lower) * (1 - share) + at(lower + 1) * share
    return mixed.masked_fill((position > bins - 1)[..., None], 0.0)


def normalised(features: Tensor, mask: Tensor | None) -> Tensor:
    """Mean 0 and deviation 1 of each row of `features` `[b, d, frames]` over its real frames; the others are 0."""
    shifted = centred(features, mask)
    deviation = channel_means(shifted.square(), mask).sqrt()
    return shifted / deviation.clamp_min(LEAST_DEVIATION)


def centred(features: Tensor, mask: Tensor | None) -> Tensor:
    """Mean 0 of each row of `features` `[b, d, frames]` over its real frames; the others are 0."""
    shifted = features - channel_means(features, mask)
    return shifted if mask is None else shifted * mask[:, None]


def channel_means(features: Tensor, mask: Tensor | None) -> Tensor:
    """Means `[b, d, 1]` of the rows of `features` `[b, d, frames]` over their real frames."""
    if mask is None:
        return features.mean(2, keepdim=True)
    real = mask[:, None].to(features.dtype)
    return (features * real).sum(2, keepdim=True) / real.sum(2, keepdim=True).clamp_min(1)
