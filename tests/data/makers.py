"""Small corpora made on the spot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from PIL import Image

from codec.data.audio import audio_info
from codec.data.image import image_size
from codec.data.manifest import Entry, Kind, write_manifest


@dataclass(frozen=True)
class Medium:
    """Stands for a model's medium."""

    kind: Kind
    channels: int = 1
    sample_rate: int = 16000


def noise(num_samples: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """`[num_samples, channels]` float32 on the 16-bit grid, so that lossless 16-bit files keep it exactly."""
    integers = np.random.default_rng(seed).integers(-20000, 20000, (num_samples, channels))
    return (integers / 32768.0).astype(np.float32)


def write_noise(path: Path, num_samples: int, *, rate: int = 16000, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Write noise with soundfile itself (not our writer) and return what was meant."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = noise(num_samples, channels, seed)
    soundfile.write(path, np.rint(frames * 32768).astype(np.int16), rate)
    return frames


def write_picture(path: Path, width: int, height: int, *, mode: str = "RGB", seed: int = 0) -> np.ndarray:
    """Write random pixels and return them, `[height, width, channels]` uint8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    Image.fromarray(pixels.squeeze(2) if channels == 1 else pixels, mode).save(path)
    return pixels


def audio_corpus(folder: Path, lengths: list[int], *, split: str = "train", rate: int = 16000) -> Path:
    """One FLAC per length and the manifest over them."""
    entries = []
    for index, length in enumerate(lengths):
        path = folder / f"{split}-{index}.flac"
        write_noise(path, length, rate=rate, seed=index)
        info = audio_info(path)
        entries.append(Entry(path=path, kind="audio", split=split, duration_s=info.duration_s))
    manifest = folder / f"{split}.jsonl"
    write_manifest(manifest, entries)
    return manifest


def image_corpus(folder: Path, sizes: list[tuple[int, int]], *, split: str = "train") -> Path:
    """One PNG per (width, height) and the manifest over them."""
    entries = []
    for index, (width, height) in enumerate(sizes):
        path = folder / f"{split}-{index}.png"
        write_picture(path, width, height, seed=index)
        rows, columns = image_size(path)
        entries.append(Entry(path=path, kind="image", split=split, width=columns, height=rows))
    manifest = folder / f"{split}.jsonl"
    write_manifest(manifest, entries)
    return manifest


def same(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Equal in shape and every bit."""
    return left.shape == right.shape and torch.equal(left, right)
