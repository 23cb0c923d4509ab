"""Writing sound: wav, flac, ogg, opus, mp3, aiff, in constant memory, whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from torch import Tensor

from codec.core.atomic import atomic_path
from codec.core.errors import UserError

# suffix -> (libsndfile format, subtype for 16 bits or lossy)
_FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".aiff": ("AIFF", "PCM_16"),
    ".aif": ("AIFF", "PCM_16"),
}
_WRITE_FRAMES = 1 << 14  # libsndfile's Vorbis writer overflows the stack on very long writes
_MAX_WAV_BYTES = (1 << 32) - (1 << 16)


class AudioWriter:
    """A context manager that takes `[channels, time]` blocks and leaves a whole file, or none on failure.

    Args:
        path: a file name whose suffix picks the format, or an open binary file (`suffix` picks; wav if None).
        sample_rate: Hz. Opus takes 8, 12, 16, 24, 48 kHz only, MP3 8 to 48 kHz.
        subtype: libsndfile's name, such as "PCM_24" or "FLOAT"; None: 16 bits, or the format's only one.

    Raises:
        UserError: a suffix, rate or channels the format does not have, or a place that cannot be written.
    """

    def __init__(
        self,
        path: str | Path | BinaryIO,
        sample_rate: int,
        channels: int,
        *,
        suffix: str | None = None,
        subtype: str | None = None,
    ) -> None:
        self._output = None if isinstance(path, (str, Path)) else path
        self._target = Path(path) if isinstance(path, (str, Path)) else None
        self.name = str(self._target) if self._target else "the output"
        suffix = suffix or (self._target.suffix if self._target else ".wav")
        if suffix.lower() not in _FORMATS:
            known = " ".join(_FORMATS)
            raise UserError(f"cannot write audio with the suffix {suffix!r}: use one of {known}")
        self._format, default = _FORMATS[suffix.lower()]
        self._subtype = subtype or default
        self._sample_rate, self._channels = sample_rate, channels
        self._stack = ExitStack()

    def __enter__(self) -> AudioWriter:
        with ExitStack() as stack:
            if self._target is not None:
                place = stack.enter_context(atomic_path(self._target))
                file = stack.enter_context(open(place, "w+b"))
            else:
                file = stack.enter_context(tempfile.TemporaryFile())
            self._file = file
            try:
                self._sound = stack.enter_context(
                    soundfile.SoundFile(
                        file,
                        "w",
                        self._sample_rate,
                        self._channels,
                        format=self._format,
                        subtype=self._subtype,
                    )
                )
            except (soundfile.LibsndfileError, ValueError, RuntimeError):
                raise UserError(
                    f"cannot write {self.name}: {self._format} {self._subtype} does not take "
                    f"{self._channels} channels at {self._sample_rate} Hz: use another suffix, such as .wav"
                ) from None
            self._stack = stack.pop_all()
        return self

    def write(self, signal: Tensor) -> None:
        """Append `[channels, time]`; values outside [-1, 1] are clipped."""
        assert signal.ndim == 2 and signal.shape[0] == self._channels, f"signal is {tuple(signal.shape)}"
        frames = self._quantize(signal.detach().float().cpu().clamp(-1.0, 1.0).T.contiguous().numpy())
        try:
            for at in range(0, len(frames), _WRITE_FRAMES):
                self._sound.write(frames[at : at + _WRITE_FRAMES])
        except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
            raise UserError(f"cannot write {self.name}: {' '.join(str(error).split())}") from None
        if self._format == "WAV" and self._file.tell() > _MAX_WAV_BYTES:
            raise UserError(f"{self.name} would pass the 4 GiB a wav file can hold: write .flac instead")

    def _quantize(self, frames: np.ndarray) -> np.ndarray:
        """16-bit integers rounded here: libsndfile scales by 32767 out and 32768 in, and loses a step."""
        if self._subtype != "PCM_16":
            return frames
        return np.rint(frames * np.float32(32768.0)).clip(-32768, 32767).astype(np.int16)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None and self._output is not None:
            self._sound.close()
            self._file.seek(0)
            shutil.copyfileobj(self._file, self._output)
        self._stack.__exit__(kind, error, trace)  # type: ignore[arg-type]


def write_audio(
    path: str | Path | BinaryIO,
    signal: Tensor,
    sample_rate: int,
    *,
    suffix: str | None = None,
    subtype: str | None = None,
) -> None:
    """Write `[channels, time]` (values outside [-1, 1] are clipped) in the format of the path's suffix.

    Raises:
        UserError: as `AudioWriter`.
    """
    with AudioWriter(path, sample_rate, signal.shape[0], suffix=suffix, subtype=subtype) as writer:
        writer.write(signal)
