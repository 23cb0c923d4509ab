"""A corpus small enough to code in a second, as a person's own folder would look."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from codec.data.audio import write_audio
from codec.data.image import write_image
from codec.data.manifest import Entry, write_manifest
from codec.eval.picture_codecs import PICTURE_CODECS, PictureCodec
from tests.metrics.signals import RATE, voice
from tests.metrics.test_image import picture


def write_recordings(folder: Path, seconds: tuple[float, ...] = (0.5, 0.8, 1.1)) -> Path:
    """Recordings of speech-like sound, the last one in split "test", and their manifest."""
    entries = []
    for index, duration_s in enumerate(seconds):
        path = folder / f"speech-{index}.wav"
        write_audio(path, torch.from_numpy(voice(duration_s, seed=index)).float()[None], RATE)
        entries.append(Entry(path=path, kind="audio", split="test" if index == len(seconds) - 1 else "train"))
    write_manifest(folder / "manifest.jsonl", entries)
    return folder / "manifest.jsonl"


def write_pictures(folder: Path, count: int = 2) -> Path:
    """Smooth pictures of 88x96 pixels and their manifest."""
    entries = []
    for index in range(count):
        path = folder / f"picture-{index}.png"
        write_image(path, picture(96, 88, seed=index))
        entries.append(Entry(path=path, kind="image"))
    write_manifest(folder / "manifest.jsonl", entries)
    return folder / "manifest.jsonl"


def stereo(seconds: float, rate: int) -> torch.Tensor:
    """`[2, time]`, the channels unlike each other."""
    left, right = (voice(seconds * rate / RATE, seed=seed) for seed in (1, 2))
    return torch.from_numpy(np.stack([left, right])).float()


def quick_codecs(*ladder: int) -> tuple[PictureCodec, ...]:
    """JPEG and WebP, swept over these qualities only."""
    return tuple(replace(codec, ladder=ladder) for codec in PICTURE_CODECS[:2])
