"""Opening any audio file libsndfile reads, and knowing exactly how long it is."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from codec.core.errors import UserError

READ_FRAMES = 1 << 16
# libsndfile estimates the length of these when no length header is present, and says so nowhere.
_LENGTH_IS_A_GUESS = frozenset({"MP3"})
# Seeking in these lands in the middle of a decoder's state: samples after a seek differ from a plain read.
_LOSSY_SUBTYPES = frozenset({"VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"})


@dataclass(frozen=True)
class AudioInfo:
    """What a recording is: rate in Hz, channels, exact samples per channel, libsndfile's format and subtype."""

    sample_rate: int
    channels: int
    num_samples: int
    format: str
    subtype: str

    @property
    def duration_s(self) -> float:
        return self.num_samples / self.sample_rate

    @property
    def seeks_exactly(self) -> bool:
        """Whether reading after a seek gives the same samples as reading from the start."""
        return self.subtype not in _LOSSY_SUBTYPES


class AudioSource:
    """An open recording that hands out blocks of frames, `[frames, channels]` float32, and never lies about damage.

    Args:
        path: a file name, or an open binary file; one that cannot seek (a pipe) is spooled to disk first.

    Raises:
        UserError: no such file, not audio, no samples, or (while reading) damaged audio or NaN samples.
    """

    def __init__(self, path: str | Path | BinaryIO) -> None:
        self._spool: BinaryIO | None = None
        self.name = str(path) if isinstance(path, (str, Path)) else str(getattr(path, "name", "the input"))
        self._file = self._open_bytes(path)
        self._owned = self._file is not path
        try:
            self._sound = self._open_sound()
            self.info = self._measure()
        except BaseException:
            self._close_bytes()
            raise

    def __enter__(self) -> AudioSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, unless the caller opened it."""
        self._sound.close()
        self._close_bytes()

    def blocks(self, start: int = 0, num_frames: int | None = None) -> Iterator[np.ndarray]:
        """Blocks of at most 65536 frames, `[frames, channels]` float32, from `start` for `num_frames` (None: to the end).

        A seek is used only where it is exact; elsewhere the frames before `start` are decoded and dropped.
        """
        skip = start
        if self.info.seeks_exactly and start < self.info.num_samples:
            self._sound.seek(start)
            skip = 0
        else:
            self._sound.seek(0)
        remaining = self.info.num_samples - start if num_frames is None else num_frames
        remaining = min(remaining, self.info.num_samples - start)
        while remaining > 0:
            block = self._read(min(READ_FRAMES, skip + remaining))
            if not len(block):
                raise UserError(f"{self.name} is cut short: {remaining} of its samples are missing")
            block, skip = block[skip:], max(0, skip - len(block))
            remaining -= len(block)
            if len(block):
                yield block

    def _open_bytes(self, path: str | Path | BinaryIO) -> BinaryIO:
        if not isinstance(path, (str, Path)):
            if path.seekable():
                return path
            self._spool = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
            shutil.copyfileobj(path, self._spool)
            self._spool.seek(0)
            return self._spool
        try:
            return open(path, "rb")
        except FileNotFoundError:
            raise UserError(f"no such file: {path}") from None
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from None

    def _open_sound(self) -> soundfile.SoundFile:
        start = self._file.tell()
        self._size = self._file.seek(0, 2)
        self._file.seek(start)
        if self._size == start:
            raise UserError(f"{self.name} is empty (0 bytes)")
        try:
            return soundfile.SoundFile(_Nameless(self._file))
        except (soundfile.LibsndfileError, TypeError, RuntimeError) as error:
            reason = getattr(error, "error_string", str(error)).strip().rstrip(".")
            raise UserError(f"{self.name} is not audio that libsndfile reads ({reason})") from None

    def _measure(self) -> AudioInfo:
        sound = self._sound
        guessed = sound.format in _LENGTH_IS_A_GUESS or not 0 <= sound.frames < 1 << 47
        num_samples = self._count() if guessed else sound.frames
        if num_samples == 0:
            raise UserError(f"{self.name} has no samples")
        return AudioInfo(sound.samplerate, sound.channels, num_samples, sound.format, sound.subtype)

    def _count(self) -> int:
        """Samples per channel, found by decoding everything once."""
        counted = 0
        while frames := len(self._read(READ_FRAMES)):
            counted += frames
        unread = self._size - self._file.tell()
        if self._sound.format == "MP3" and unread > max(1 << 16, self._size // 50):
            raise UserError(
                f"{self.name} has no length header, so {unread} of its {self._size} bytes would be lost: "
                "repair it with `ffmpeg -i IN -c copy OUT.mp3`"
            )
        self._sound.seek(0)
        return counted

    def _read(self, frames: int) -> np.ndarray:
        try:
            block = self._sound.read(frames, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            reason = getattr(error, "error_string", str(error)).strip().rstrip(".") or "decoding failed"
            raise UserError(f"{self.name} is damaged audio ({reason})") from None
        if not np.isfinite(block).all():
            raise UserError(f"{self.name} holds samples that are NaN or infinite")
        return block

    def _close_bytes(self) -> None:
        if self._owned:
            self._file.close()


class _Nameless:
    """A file without a name, so that the contents and not the suffix decide what it is."""

    def __init__(self, file: BinaryIO) -> None:
        self.seek, self.tell, self.read = file.seek, file.tell, file.read
        self.readinto = file.readinto if hasattr(file, "readinto") else self._readinto

    def _readinto(self, buffer: memoryview) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def write(self, _: bytes) -> int:
        raise OSError("opened for reading")


def audio_info(path: str | Path | BinaryIO) -> AudioInfo:
    """What a recording is, with its exact length (MP3 is decoded once to learn it).

    Raises:
        UserError: as `AudioSource`.
    """
    with AudioSource(path) as source:
        return source.info
