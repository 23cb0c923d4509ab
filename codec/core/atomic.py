"""Files appear whole or not at all: written under a temporary name in the same folder, then renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from codec.core.errors import UserError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path (same folder, same suffix) that becomes `path` on success and vanishes on failure.

    Raises:
        UserError: the folder of `path` cannot be made or written to.
    """
    target = Path(path)
    with _folder_for(target):
        try:
            handle, name = tempfile.mkstemp(
                prefix=f".{target.name[:64]}.", suffix=f".part{target.suffix}", dir=target.parent
            )
        except OSError as error:
            raise UserError(f"cannot write {target}: {error.strerror}") from None
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            os.chmod(temporary, 0o666 & ~_umask())
            _rename(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


def atomic_write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all, and flushed to the disk."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def atomic_write_text(path: str | Path, content: str) -> None:
    """Write `content` as UTF-8 to `path`, whole or not at all."""
    atomic_write_bytes(path, content.encode())


@contextmanager
def _folder_for(target: Path) -> Iterator[None]:
    """Make the folder of `target`; on failure, folders that were not there before go again, if still empty."""
    missing = [folder for folder in (target.parent, *target.parent.parents) if not os.path.exists(folder)]
    try:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write {target}: {error.strerror}") from None
        yield
    except BaseException:
        with suppress(OSError):
            for folder in missing:
                folder.rmdir()
        raise


def _rename(source: Path, target: Path) -> None:
    try:
        os.replace(source, target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}") from None


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
