"""Small recordings and pictures for the tests of files."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def tone(num_samples: int, sample_rate: int = 16000, channels: int = 1) -> Tensor:
    """A chord with a little noise, [channels, num_samples]; other channels are shifted."""
    rng = np.random.default_rng(num_samples)
    time = np.arange(num_samples) / sample_rate
    rows = [
        0.4 * np.sin(2 * np.pi * (220 + 30 * c) * time) + 0.2 * np.sin(2 * np.pi * 987 * time) for c in range(channels)
    ]
    return torch.from_numpy(np.stack(rows) + 0.02 * rng.normal(size=(channels, num_samples))).float()


def scene(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Smooth colours with a little noise, uint8 [height, width, channels]."""
    rng = np.random.default_rng(height * 1000 + width)
    y, x = np.mgrid[:height, :width]
    planes = [128 + 90 * np.sin((c + 1) * x / 17 + y / (11 + c)) for c in range(channels)]
    return np.clip(np.stack(planes, -1) + rng.normal(0, 4, (height, width, channels)), 0, 255).astype(np.uint8)
