"""Decoding every file once at preparation time, so that training never meets a bad one at step 90,000."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from codec.core.errors import UserError
from codec.data.audio import AudioSource
from codec.data.image import read_pixels
from codec.data.manifest import Entry, Kind


@dataclass(frozen=True)
class Candidate:
    """A file a corpus says it has, and what the corpus knows of it (keys of `Entry`, or any other)."""

    path: Path
    kind: Kind
    fields: dict[str, Any] = field(default_factory=dict)


class Skipped(NamedTuple):
    """A file or folder that is left out, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Limits:
    """What is too short, too quiet or too small to learn from."""

    min_duration_s: float = 0.1
    silence_peak: float = 1e-4  # -80 dB of full scale
    min_side: int = 8


def screen(candidate: Candidate, limits: Limits) -> Entry | Skipped:
    """The entry of a sound file, measured by decoding all of it; for any other, why it is left out."""
    check = {"audio": _check_audio, "image": _check_image}[candidate.kind]
    try:
        _check_name(candidate.path)
        _check_regular(candidate.path)
        measured = check(candidate.path, limits)
    except UserError as error:
        return Skipped(candidate.path, str(error).replace(str(candidate.path), "the file"))
    return Entry.model_validate({"path": candidate.path, "kind": candidate.kind} | measured | candidate.fields)


def _check_name(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(f"{path} has a name that is not UTF-8, which a manifest cannot hold: rename it") from None


def _check_regular(path: Path) -> None:
    """Opening a pipe would wait for its writer, and reading a device may never end."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise UserError(f"{path} is a pipe, a device or a folder by the name of a file")


def _check_audio(path: Path, limits: Limits) -> dict[str, Any]:
    with AudioSource(path) as source:
        peak = max(float(np.abs(block).max()) for block in source.blocks())
        info = source.info
    if info.duration_s < limits.min_duration_s:
        raise UserError(f"{path} is too short: {info.duration_s:.3f} s of at least {limits.min_duration_s} s")
    if peak < limits.silence_peak:
        raise UserError(f"{path} is silent: its loudest sample is {peak:.1e} of full scale")
    return {
        "duration_s": round(info.duration_s, 6),
        "sample_rate": info.sample_rate,
        "channels": info.channels,
        "num_samples": info.num_samples,
    }


def _check_image(path: Path, limits: Limits) -> dict[str, Any]:
    pixels = read_pixels(path)
    height, width = pixels.shape[:2]
    if min(height, width) < limits.min_side:
        raise UserError(f"{path} is too small: {width}x{height} of at least {limits.min_side} pixels a side")
    if (pixels == pixels[0, 0]).all():
        raise UserError(f"{path} is blank: all pixels have one colour")
    return {"width": width, "height": height}
