"""A stretch of a recording as a file of its own, for whoever works on files."""

from __future__ import annotations

from pathlib import Path

from codec.data.audio import audio_info, read_audio, write_audio


def excerpt(path: Path, folder: Path, *, start_s: float = 0.0, seconds: float | None = None) -> Path:
    """A recording's `seconds` from `start_s` on, at its own rate; `path` itself where that is all of it.

    Args:
        folder: where the file goes, as float samples.

    Raises:
        UserError: the recording cannot be read, or ends before it starts.
    """
    info = audio_info(path)
    start = round(start_s * info.sample_rate)
    length = info.num_samples if seconds is None else round(seconds * info.sample_rate)
    if not start and length >= info.num_samples:
        return path
    signal, rate = read_audio(path, start=start, num_samples=length)
    target = folder / "excerpt" / f"{path.stem}.wav"
    write_audio(target, signal, rate, subtype="FLOAT")
    return target
