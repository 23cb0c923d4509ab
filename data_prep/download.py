"""Fetching archives: checked against their published checksum, resumed where a break left them, unpacked once."""

from __future__ import annotations

import hashlib
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from codec.core.errors import UserError

from .report import Progress

_BLOCK = 1 << 20
_HASH_OF_LENGTH = {32: "md5", 64: "sha256"}


@dataclass(frozen=True)
class Archive:
    """A published file: its address and its checksum in hex (32 digits: MD5, 64: SHA-256)."""

    url: str
    checksum: str

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


def download(
    archive: Archive,
    folder: Path,
    *,
    attempts: int = 5,
    patience_s: float = 2.0,
    progress: Callable[[int, int | None], None] | None = None,
) -> Path:
    """Fetch `archive` into `folder` and return its path; a file already there with the right checksum is kept.

    A broken transfer leaves `NAME.part`, and this run or the next one goes on from its end.

    Args:
        attempts, patience_s: tries in all, and the pause before the second; it doubles each time.
        progress: called with the bytes held so far, and of how many, if the server tells.

    Raises:
        UserError: the server refuses, the connection keeps breaking, or the checksum is wrong (then nothing is kept).
    """
    target, part = folder / archive.name, folder / f"{archive.name}.part"
    if target.exists() and checksum(target, archive.checksum) == archive.checksum:
        return target
    folder.mkdir(parents=True, exist_ok=True)
    for attempt in range(attempts):
        try:
            _fetch(archive.url, part, progress)
            break
        except (OSError, HTTPException) as error:
            refused = isinstance(error, urllib.error.HTTPError) and 400 <= error.code < 500
            if refused or attempt == attempts - 1:
                raise UserError(f"cannot fetch {archive.url}: {error} (run again to go on from here)") from None
            time.sleep(patience_s * 2**attempt)
    found = checksum(part, archive.checksum)
    if found != archive.checksum:
        part.unlink()
        raise UserError(f"{archive.url} has checksum {found}, expected {archive.checksum}: run again to fetch it anew")
    part.replace(target)
    return target


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a .tar, .tar.gz, .tar.bz2 or .zip into `folder`, once; members may not leave the folder.

    Raises:
        UserError: a damaged archive, or one with members that point outside.
    """
    done = folder / f".{archive.name}.unpacked"
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                file.extractall(folder)
        else:
            with tarfile.open(archive) as file:
                file.extractall(folder, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise UserError(f"cannot unpack {archive}: {error}") from None
    done.touch()


def fetch_all(archives: list[Archive], folder: Path, *, progress: Progress | None = None) -> None:
    """Download and unpack each archive in `folder`.

    Args:
        progress: called with megabytes held, and of how many, under a label that names the archive.

    Raises:
        UserError: as `download` and `unpack`.
    """
    for archive in archives:
        unpack(download(archive, folder, progress=progress and _in_megabytes(progress, archive.name)), folder)


def _in_megabytes(progress: Progress, name: str) -> Callable[[int, int | None], None]:
    def tell(held: int, size: int | None) -> None:
        progress(held // 10**6, None if size is None else size // 10**6, label=f"fetching {name} (MB)")

    return tell


def checksum(path: Path, like: str) -> str:
    """The checksum of a file in hex, of the kind that `like` is."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, _HASH_OF_LENGTH[len(like)]).hexdigest()


def _fetch(url: str, part: Path, progress: Callable[[int, int | None], None] | None) -> None:
    """Append to `part` whatever of `url` it lacks."""
    held = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={held}-"} if held else {})
    try:
        response = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == 416 and held:  # nothing after what we hold: all of it is here, as the checksum will tell
            return
        raise
    with response:
        resumed = response.status == 206
        expected = int(response.headers.get("Content-Length", -1))
        with open(part, "ab" if resumed else "wb") as file:
            before = file.tell()
            while block := response.read(_BLOCK):
                file.write(block)
                if progress is not None:
                    progress(file.tell(), before + expected if expected >= 0 else None)
            if expected >= 0 and file.tell() - before != expected:
                raise ConnectionError(f"the connection broke after {file.tell()} bytes")
