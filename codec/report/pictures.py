"""Spectrograms and code maps as pictures."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from codec.core.spectral import magnitude, mel_filters
from codec.eval.items import Item
from codec.report.colour import colour_image

_RANGE_DB = 75.0
_COLUMNS = 1200
_MOST_MAPS = 4
_MELS = 64


def spectrogram_image(signal: Tensor, sample_rate: int, *, reference: Tensor) -> Image.Image:
    """Log-power spectrogram of `[c, time]` from 0 Hz (bottom) to half the rate (top), one column per time step.

    Colours span 75 dB below the loudest point of `reference`, so that spectrograms of one item compare.
    """
    top = _power_db(reference, sample_rate).max()
    return colour_image((_power_db(signal, sample_rate)[::-1] - top) / _RANGE_DB + 1)


def mel_image(signal: Tensor, sample_rate: int) -> Image.Image:
    """Log mel spectrogram of `[c, time]`, 64 bands from low (bottom) to half the rate (top), a column every 5 ms.

    Colours span 75 dB below the loudest point.
    """
    window, hop = 2 * round(0.016 * sample_rate), round(0.005 * sample_rate)
    power = magnitude(signal.mean(0), window=window, hop=hop) ** 2
    mels = (10 * torch.log10(mel_filters(sample_rate, window=window, num_mels=_MELS) @ power)).numpy()
    return colour_image((mels[::-1] - mels.max()) / _RANGE_DB + 1)


def _power_db(signal: Tensor, sample_rate: int) -> NDArray:
    mono = signal.float().mean(0)
    size = max(64, 2 * round(0.016 * sample_rate))
    if len(mono) < size:
        mono = torch.nn.functional.pad(mono, (0, size - len(mono)))
    hop = max(size // 8, -(-len(mono) // _COLUMNS))
    window = torch.hann_window(size)
    spectrum = torch.stft(mono, size, hop, window=window, center=True, pad_mode="constant", return_complex=True)
    return (20 * torch.log10(spectrum.abs() / window.sum() + 1e-6)).numpy()


def code_maps(item: Item) -> list[tuple[str, Image.Image]]:
    """Heat maps of an item's codes, each with a title.

    Sound gives one map per level and channel, a row per codebook (the first on top) and a column per step.
    Pictures give one map per codebook, up to four, a point per code. Codes are coloured by rank: by how loud,
    or how light, the signal is on average where the code was chosen.
    """
    maps = []
    for depth, level in enumerate(item.codes):
        where = f"level {depth + 1}, " if len(item.codes) > 1 else ""
        for row, codes in enumerate(level.numpy()):
            carried = _carried(item, row, codes.shape[1:])
            shades = np.stack([_ranked(book, carried) for book in codes])
            if item.is_audio:
                channel = f"{where}channel {row + 1}" if len(level) > 1 else where.rstrip(", ")
                maps.append((channel, colour_image(shades)))
            else:
                books = range(min(len(shades), _MOST_MAPS))
                maps += [(f"{where}codebook {book + 1}", colour_image(shades[book])) for book in books]
    return maps


def _carried(item: Item, row: int, space: tuple[int, ...]) -> NDArray:
    """What the signal is at each code: loudness in dB `[time]`, or lightness `[height, width]`."""
    if item.is_audio:
        signal = item.reference[min(row, len(item.reference) - 1)][None, None]
        energy = torch.nn.functional.adaptive_avg_pool1d(signal**2, space[0])[0, 0]
        return (10 * torch.log10(energy + 1e-8)).numpy()
    grey = item.reference.mean(0, keepdim=True)[None]
    height, width = space
    return torch.nn.functional.adaptive_avg_pool2d(grey, (height, width))[0, 0].numpy()


def _ranked(codes: NDArray, carried: NDArray) -> NDArray:
    """Each code replaced by its rank in [0, 1] among the codes seen, ordered by the mean of `carried`."""
    seen, inverse = np.unique(codes, return_inverse=True)
    inverse = inverse.reshape(-1)
    means = np.bincount(inverse, carried.reshape(-1).astype(np.float64)) / np.bincount(inverse)
    ranks = np.empty(len(seen))
    ranks[np.argsort(means, kind="stable")] = np.linspace(0.08, 0.97, len(seen)) if len(seen) > 1 else 0.5
    return ranks[inverse].reshape(codes.shape)
