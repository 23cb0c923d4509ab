"""Cutting one training example out of a recording or a picture: one class per medium, one interface.

A `Crops` turns an entry into a signal `[c, *crop]` and a mask `[*crop]`. With a generator the crop is
random and all its choices are drawn from that generator; without, it is the centre one.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from codec.data.audio import audio_info, read_audio, resampled_length
from codec.data.augment import tilted, within_full_scale
from codec.data.cache import DecodedCache
from codec.data.config import DataConfig
from codec.data.image import read_pixels
from codec.data.manifest import Entry, Kind


class Media(Protocol):
    """What the loader has to know of a model's medium; `sample_rate` (Hz) is read for audio only."""

    @property
    def kind(self) -> Kind: ...
    @property
    def channels(self) -> int: ...


class Crop(NamedTuple):
    """One example.

    Attributes:
        signal: `[c, *space]` float32.
        mask: `[*space]` bool, False over padding.
        start: the first of its samples in the recording; 0 for pictures.
    """

    signal: Tensor
    mask: Tensor
    start: int = 0


class Crops(Protocol):
    """Cuts examples of one medium."""

    def extent(self, entry: Entry) -> float:
        """How many crops fit into `entry` (0 when the manifest does not say), for weighting."""
        ...

    def cut(self, entry: Entry, size: int, generator: np.random.Generator | None) -> Crop:
        """One example of `size` along every axis. UserError: bad file."""
        ...


class AudioCrops:
    """Stretches of `crop` samples at `sample_rate` Hz; short recordings are padded with zeros at the end.

    Samples pass through 16 bits, held or not, so that a batch does not depend on what the cache holds.
    """

    def __init__(self, config: DataConfig, *, sample_rate: int, channels: int, cache: DecodedCache) -> None:
        self.config, self.sample_rate, self.channels, self.cache = config, sample_rate, channels, cache

    def extent(self, entry: Entry) -> float:
        return (entry.duration_s or 0.0) * self.sample_rate / self.config.crop

    def cut(self, entry: Entry, size: int, generator: np.random.Generator | None) -> Crop:
        if self._is_long(entry):
            start, stretch = self._long_stretch(entry, size, generator)
        else:
            samples = self.cache.get(entry.path, lambda: self._read(entry))
            start = _offset(samples.shape[1] - size, generator)
            stretch = samples[:, start : start + size]
        signal = torch.zeros(self.channels, size)
        signal[:, : stretch.shape[1]] = torch.from_numpy(stretch.astype(np.float32)) / 32768.0
        if generator is not None and self.config.tilt_db is not None:
            tilt = float(generator.uniform(*self.config.tilt_db))
            signal = within_full_scale(tilted(signal, db_per_octave=tilt, sample_rate=self.sample_rate))
            signal[:, stretch.shape[1] :] = 0
        if generator is not None and self.config.gain_db is not None:
            signal *= _safe_gain(signal, float(generator.uniform(*self.config.gain_db)))
        return Crop(signal, torch.arange(size) < stretch.shape[1], start)

    def _is_long(self, entry: Entry) -> bool:
        """Whether holding this recording would push most others out."""
        num_bytes = (entry.duration_s or 0.0) * self.sample_rate * self.channels * 2
        return num_bytes > self.cache.limit_bytes / 8

    def _long_stretch(self, entry: Entry, size: int, generator: np.random.Generator | None) -> tuple[int, np.ndarray]:
        """The same start and stretch as from the whole, without holding the whole."""
        info = audio_info(entry.path)
        spare = resampled_length(info.num_samples, info.sample_rate, self.sample_rate) - size
        start = _offset(spare, generator)
        return start, self._read(entry, start, size)

    def _read(self, entry: Entry, start: int = 0, num_samples: int | None = None) -> np.ndarray:
        signal, _ = read_audio(
            entry.path,
            sample_rate=self.sample_rate,
            channels=self.channels,
            start=start,
            num_samples=num_samples,
        )
        return np.rint(signal.numpy() * 32768.0).clip(-32768, 32767).astype(np.int16)


class ImageCrops:
    """Squares of `crop` pixels, cut from the picture shrunk by a factor of `scale`; small ones are padded."""

    def __init__(self, config: DataConfig, *, channels: int, cache: DecodedCache) -> None:
        self.config, self.channels, self.cache = config, channels, cache

    def extent(self, entry: Entry) -> float:
        return (entry.width or 0) * (entry.height or 0) / self.config.crop**2

    def cut(self, entry: Entry, size: int, generator: np.random.Generator | None) -> Crop:
        pixels = self.cache.get(entry.path, lambda: read_pixels(entry.path, channels=self.channels))
        window = self._window(pixels, size, generator)
        height, width = window.shape[:2]
        signal = torch.zeros(self.channels, size, size)
        signal[:, :height, :width] = torch.from_numpy(window).permute(2, 0, 1).float() / 127.5 - 1.0
        mask = torch.zeros(size, size, dtype=torch.bool)
        mask[:height, :width] = True
        if generator is not None and self.config.flip and generator.random() < 0.5:
            signal, mask = signal.flip(-1), mask.flip(-1)
        return Crop(signal, mask)

    def _window(self, pixels: np.ndarray, size: int, generator: np.random.Generator | None) -> np.ndarray:
        low, high = (math.log(end) for end in self.config.scale)
        scale = math.exp((low + high) / 2 if generator is None else float(generator.uniform(low, high)))
        shortest = min(pixels.shape[:2])
        side = size if shortest <= size else min(shortest, round(size / scale))
        top, left = (_offset(extent - side, generator) for extent in pixels.shape[:2])
        window = np.ascontiguousarray(pixels[top : top + side, left : left + side])
        return window if side == size else _shrink(window, size)


def _offset(spare: int, generator: np.random.Generator | None) -> int:
    if spare <= 0:
        return 0
    return spare // 2 if generator is None else int(generator.integers(spare + 1))


def _shrink(window: np.ndarray, size: int) -> np.ndarray:
    image = Image.fromarray(window if window.shape[2] == 3 else window[..., 0])
    shrunk = np.array(image.resize((size, size), Image.Resampling.LANCZOS))
    return shrunk.reshape(size, size, -1)


def _safe_gain(signal: Tensor, gain_db: float) -> float:
    """The gain as a factor, lowered where it would push the loudest sample beyond full scale."""
    peak = float(signal.abs().max())
    factor = 10.0 ** (gain_db / 20.0)
    return min(factor, max(1.0, 1.0 / peak)) if peak > 0.0 else factor
