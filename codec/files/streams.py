"""Where bytes come from and go to (paths, pipes, open files), and what kind of bytes they are."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, TypeGuard, cast

from codec.core.atomic import atomic_path
from codec.core.errors import UserError
from codec.files.container import MAGIC
from codec.files.errors import OutputError

Place = str | os.PathLike[str] | BinaryIO
Kind = Literal["audio", "image", "vqc", "unknown"]
_MEMORY = 1 << 20  # bytes of a pipe or a payload kept in memory before they go to a temporary file
_AUDIO = (b"fLaC", b"OggS", b"ID3", b"caff", b".snd", b"RF64", b"RIFX", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2")
_PICTURE = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"BM", b"\xff\x0a", b"\0\0\0\x0cJXL ")
_BRANDS = {b"WAVE": "audio", b"AIFF": "audio", b"AIFC": "audio", b"WEBP": "image"}


class Spool(io.RawIOBase):
    """A seekable temporary file with a name to show; small contents stay in memory."""

    def __init__(self, name: str = "the input"):
        self.name = name
        self._file = tempfile.SpooledTemporaryFile(max_size=_MEMORY)  # noqa: SIM115 - closed by close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        return self._file.read(-1 if size is None else size)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def write(self, content: bytes) -> int:  # type: ignore[override]
        return self._file.write(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._file.seek(offset, whence)
        return self._file.tell()

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()


def shown(place: Place) -> str:
    """A name for messages."""
    if isinstance(place, (str, os.PathLike)):
        return "standard input" if place == "-" else os.fspath(place)
    name = getattr(place, "name", None)
    return name if isinstance(name, str) else "the input"


@contextmanager
def open_input(source: Place) -> Iterator[BinaryIO]:
    """A seekable binary file at its start; pipes are spooled, and what the caller opened stays open.

    What the caller opened is read where it is, if it can seek and is at its start; else what follows is spooled.

    Raises:
        UserError: there is no such file, or it cannot be read.
    """
    if is_path(source):
        try:
            file = open(source, "rb")  # noqa: SIM115 - closed below
        except FileNotFoundError:
            raise UserError(f"no such file: {os.fspath(source)}") from None
        except OSError as error:
            raise UserError(f"cannot read {os.fspath(source)}: {error.strerror}") from None
        with file:
            if file.seekable():
                yield file
                return
            yield from _spooled(file, os.fspath(source))
        return
    stream = sys.stdin.buffer if source == "-" else cast(BinaryIO, source)
    if source != "-" and stream.seekable() and stream.tell() == 0:
        yield stream
        return
    yield from _spooled(stream, shown(source))


def _spooled(stream: BinaryIO, name: str) -> Iterator[BinaryIO]:
    with Spool(name) as spool:
        shutil.copyfileobj(stream, cast(BinaryIO, spool))
        spool.seek(0)
        yield cast(BinaryIO, spool)


@contextmanager
def output_place(target: Place) -> Iterator[Path | BinaryIO]:
    """A path that may be replaced by a rename, or an open stream: a pipe, a device, the caller's own file.

    Raises:
        OutputError: a folder, or a device that cannot be opened.
    """
    if not is_path(target):
        stream = sys.stdout.buffer if target == "-" else cast(BinaryIO, target)
        yield stream
        stream.flush()
        return
    path = Path(target)
    if path.is_dir() or os.fspath(target).endswith(os.sep):
        raise OutputError(f"cannot write {os.fspath(target)}: it is a folder; name a file in it")
    if not path.exists() or path.is_file():
        yield path
        return
    try:
        device = open(path, "wb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from None
    with device:
        yield device


@contextmanager
def open_output(target: Place) -> Iterator[BinaryIO]:
    """A binary file to write; a path appears whole or not at all, a stream gets all at the end or nothing.

    Raises:
        UserError: the place cannot be written.
    """
    with output_place(target) as place:
        if isinstance(place, Path):
            with atomic_path(place) as temporary, open(temporary, "wb") as file:
                yield file
            return
        with Spool("the output") as spool:
            yield cast(BinaryIO, spool)
            spool.seek(0)
            shutil.copyfileobj(cast(BinaryIO, spool), place)


def is_path(place: Place) -> TypeGuard[str | os.PathLike[str]]:
    """Whether `place` names a file, and is neither `-` nor an open one."""
    return isinstance(place, (str, os.PathLike)) and place != "-"


def refuse_overwriting(source: Place, target: Place) -> None:
    """Refuse a target that is the source itself.

    Raises:
        OutputError: both are the same file.
    """
    paths = [place for place in (source, target) if is_path(place)]
    if len(paths) == 2 and all(map(os.path.exists, paths)) and os.path.samefile(*paths):
        raise OutputError(f"{os.fspath(paths[0])} is input and output at once: give the output another name")


def kind_of(file: BinaryIO) -> Kind:
    """What the first bytes of `file` say it is; leaves it at its start."""
    file.seek(0)
    start = file.read(12)
    file.seek(0)
    if start.startswith(MAGIC):
        return "vqc"
    if start[:4] in (b"RIFF", b"FORM"):
        return cast(Kind, _BRANDS.get(start[8:12], "unknown"))
    if start[4:8] == b"ftyp" and start[8:12] in (b"avif", b"avis", b"heic", b"heix", b"mif1"):
        return "image"
    if start.startswith(_AUDIO):
        return "audio"
    return "image" if start.startswith(_PICTURE) else "unknown"
