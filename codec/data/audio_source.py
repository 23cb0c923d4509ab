"""Opening any audio file libsndfile reads, and knowing exactly how long it is."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import soundfile

from codec.core.errors import UserError

READ_FRAMES = 1 << 16
_UNKNOWN_LENGTH = 1 << 47  # libsndfile says "as long as can be" for a stream written without a length
_MP3_TAG_BYTES = 4096
# Seeking in these lands in the middle of a decoder's state: samples after a seek differ from a plain read.
_LOSSY_SUBTYPES = frozenset({"VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"})


@dataclass(frozen=True)
class AudioInfo:
    """What a recording is: rate in Hz, channels, exact samples per channel, libsndfile's format names."""

    sample_rate: int
    channels: int
    num_samples: int
    format: str
    subtype: str

    @property
    def duration_s(self) -> float:
        return self.num_samples / self.sample_rate


class AudioSource:
    """An open recording that hands out blocks of frames, `[frames, channels]` float32, and admits damage.

    Args:
        path: a file name, or an open binary file; one that cannot seek (a pipe) is spooled to disk first.

    Raises:
        UserError: no such file, not audio, no samples, or (while reading) damaged audio or NaN samples.
    """

    def __init__(self, path: str | Path | BinaryIO) -> None:
        self._spool: BinaryIO | None = None
        self._claimed_bytes: int | None = None
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
        """Blocks, `[frames <= 65536, channels]` float32, of `num_frames` from `start` (None: to the end).

        A seek is used only where it is exact; elsewhere the frames before `start` are decoded and dropped.
        """
        skip = start
        if self._seeks_exactly:
            with self._damage():
                self._sound.seek(min(start, self.info.num_samples))
            skip = 0
        else:
            self._rewind()
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
        self._size = self._file.seek(0, 2)
        self._file.seek(0)
        if self._size == 0:
            raise UserError(f"{self.name} is empty (0 bytes)")
        try:
            return _Sequential(cast(Any, _Nameless(self._file, self._claimed_bytes)))
        except (soundfile.LibsndfileError, TypeError, RuntimeError) as error:
            reason = getattr(error, "error_string", str(error)).strip().rstrip(".")
            raise UserError(f"{self.name} is not audio that libsndfile reads ({reason})") from None

    def _rewind(self) -> None:
        """Back to the first sample, decoder and all; also where libsndfile cannot seek."""
        self._sound.close()
        self._sound = self._open_sound()

    def _measure(self) -> AudioInfo:
        sound = self._sound
        known = sound.frames < _UNKNOWN_LENGTH
        self._seeks_exactly = known and sound.subtype not in _LOSSY_SUBTYPES
        kind = (sound.format, sound.subtype)
        num_samples = sound.frames if known else self._count()
        if sound.format == "MP3":
            num_samples = self._count_mp3()
        if num_samples == 0:
            raise UserError(f"{self.name} has no samples")
        return AudioInfo(self._sound.samplerate, self._sound.channels, num_samples, *kind)

    def _count_mp3(self) -> int:
        """Without a length header libsndfile guesses the length of an MP3 from its first frame, and stops.

        If bytes are left over, we open it again and claim that there are far more, so that reading ends with
        the file and not with the guess.
        """
        counted = self._count()
        if self._size - self._counted_to > _MP3_TAG_BYTES:
            self._claimed_bytes = self._size * 1000
            self._rewind()
            counted = self._count()
        return counted

    def _count(self) -> int:
        """Samples per channel, found by decoding everything once."""
        counted = 0
        while frames := len(self._read(READ_FRAMES)):
            counted += frames
        self._counted_to = self._file.tell()
        self._rewind()
        return counted

    def _read(self, frames: int) -> np.ndarray:
        with self._damage():
            block = self._sound.read(frames, dtype="float32", always_2d=True)
        if not np.isfinite(block).all():
            raise UserError(f"{self.name} holds samples that are NaN or infinite")
        return block

    @contextmanager
    def _damage(self) -> Iterator[None]:
        try:
            yield
        except (soundfile.LibsndfileError, RuntimeError) as error:
            reason = getattr(error, "error_string", str(error)).strip().rstrip(".") or "decoding failed"
            raise UserError(f"{self.name} is damaged audio ({reason})") from None

    def _close_bytes(self) -> None:
        if self._owned:
            self._file.close()


class _Sequential(soundfile.SoundFile):
    """Reads on without the seek that soundfile adds after every read, which disturbs decoders or fails."""

    def seekable(self) -> bool:
        return False


class _Nameless:
    """A file without a name, so that the contents and not the suffix decide what it is.

    With `claimed_bytes` its end seems to lie there, and nothing can be read there.
    """

    def __init__(self, file: BinaryIO, claimed_bytes: int | None) -> None:
        self._file, self._claimed_bytes, self._at_claimed_end = file, claimed_bytes, False

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at_claimed_end = whence == 2 and offset == 0 and self._claimed_bytes is not None
        with suppress(OSError, ValueError):  # a damaged file may ask for a place before its start: stay
            self._file.seek(offset, whence)
        return self.tell()

    def tell(self) -> int:
        if self._at_claimed_end and self._claimed_bytes is not None:
            return self._claimed_bytes
        return self._file.tell()

    def read(self, num_bytes: int = -1) -> bytes:
        return b"" if self._at_claimed_end else self._file.read(num_bytes)

    def readinto(self, buffer: memoryview) -> int:
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
