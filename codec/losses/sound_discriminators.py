"""Judges of sound: some look at spectra of several resolutions, some at samples a period apart."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from codec.core.config import Config
from codec.core.precision import float32_island
from codec.losses.judgement import Judgement

SLOPE = 0.1
PERIOD_WIDENING = (1, 4, 16, 32, 32)
"""Channels of a period judge's layers, as multiples of its width."""


class SoundDiscriminatorConfig(Config):
    """Which judges there are.

    Attributes:
        windows: of the spectra, in samples, one judge each; the hop is a quarter of it.
        spectral_width: channels of the spectral judges' layers.
        periods: in samples, one judge each.
        period_width: channels of the period judges' first layer; the last has 32 times as many, up to `period_limit`.
    """

    windows: tuple[PositiveInt, ...] = (2048, 1024, 512)
    spectral_width: PositiveInt = 32
    periods: tuple[PositiveInt, ...] = (2, 3, 5, 7, 11)
    period_width: PositiveInt = 32
    period_limit: PositiveInt = Field(default=1024)

    @property
    def smallest(self) -> int:
        """Samples of the shortest signal that can be judged."""
        return max((*self.windows, *(4 * period for period in self.periods)))


class SoundDiscriminator(nn.Module):
    """Spectral and period judges, each of every channel by itself.

    Shapes: `[b, channels, time]`, time at least `config.smallest`, to a `Judgement` with features to match.
    """

    has_features = True

    def __init__(self, config: SoundDiscriminatorConfig):
        super().__init__()
        spectral = [SpectralJudge(window, config.spectral_width) for window in config.windows]
        widths = tuple(min(config.period_limit, config.period_width * times) for times in PERIOD_WIDENING)
        self.judges = nn.ModuleList([*spectral, *(PeriodJudge(period, widths) for period in config.periods)])

    def forward(self, signal: Tensor) -> Judgement:
        layers = [judge(signal.flatten(0, 1)[:, None]) for judge in self.judges]
        return Judgement(tuple(outputs[-1] for outputs in layers), tuple(tuple(outputs[:-1]) for outputs in layers))


class SpectralJudge(nn.Module):
    """Convolutions over a complex spectrogram (Défossez et al. 2022, figure 2): kernels 3x9, dilated in time.

    Shapes: `[b, 1, time]` to the outputs of its layers, the logits `[b, 1, frames, bins / 8]` last.
    """

    def __init__(self, window: int, width: int):
        super().__init__()
        self.window = window
        self.hann: Tensor
        self.register_buffer("hann", torch.hann_window(window), persistent=False)
        self.layers = nn.ModuleList(
            [
                weight_norm(nn.Conv2d(2, width, (3, 9), padding=(1, 4))),
                *(
                    weight_norm(
                        nn.Conv2d(width, width, (3, 9), stride=(1, 2), dilation=(dilation, 1), padding=(dilation, 4))
                    )
                    for dilation in (1, 2, 4)
                ),
                weight_norm(nn.Conv2d(width, width, 3, padding=1)),
                weight_norm(nn.Conv2d(width, 1, 3, padding=1)),
            ]
        )

    def forward(self, signal: Tensor) -> list[Tensor]:
        return _activated(self.layers, self._spectrogram(signal[:, 0]))

    def _spectrogram(self, signal: Tensor) -> Tensor:
        """`[b, 2, frames, bins]` in channels_last memory; a loud window is of the size of 1."""
        with float32_island(signal.device.type):
            hop = self.window // 4
            spectrum = torch.fft.rfft(signal.float().unfold(-1, self.window, hop) * self.hann, norm="ortho")
            return torch.view_as_real(spectrum).movedim(-1, 1)


class PeriodJudge(nn.Module):
    """Convolutions along samples a period apart (Kong et al. 2020, section 2.2).

    Shapes: `[b, 1, time]` to the outputs of its layers, the logits `[b, 1, ..., period]` last.
    """

    def __init__(self, period: int, widths: tuple[int, ...]):
        super().__init__()
        self.period = period
        strides = [3] * (len(widths) - 1) + [1]
        self.layers = nn.ModuleList(
            [
                *(
                    weight_norm(nn.Conv2d(before, after, (5, 1), stride=(stride, 1), padding=(2, 0)))
                    for before, after, stride in zip((1, *widths[:-1]), widths, strides, strict=True)
                ),
                weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0))),
            ]
        )

    def forward(self, signal: Tensor) -> list[Tensor]:
        whole = F.pad(signal, (0, -signal.shape[-1] % self.period), mode="reflect")
        return _activated(self.layers, whole.unflatten(-1, (-1, self.period)))


def _activated(layers: nn.ModuleList, features: Tensor) -> list[Tensor]:
    """Every layer's outputs, all but the last after a leaky ReLU."""
    outputs = []
    features = features.to(memory_format=torch.channels_last)
    for layer in layers[:-1]:
        features = F.leaky_relu(layer(features), SLOPE)
        outputs.append(features)
    return [*outputs, layers[-1](features)]
