"""Chunks on their way into a file: sealed one by one, while the header that stands before them is not known yet."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import BinaryIO, cast

from codec.files.container import Stored, seal, write_header
from codec.files.header import Header
from codec.files.method import Method
from codec.files.streams import Spool


@dataclass
class ChunkSpool:
    """Sealed chunks in `file`, and the table of them."""

    file: BinaryIO
    chunks: list[Stored] = field(default_factory=list)

    def add(self, data: bytes, method: Method) -> None:
        """Seal `data` as the next chunk."""
        self.file.write(seal(len(self.chunks), data))
        self.chunks.append(Stored(len(data), method))

    def write(self, header: Header, out: BinaryIO) -> tuple[Header, int]:
        """Write `header` and the chunks; gives the header as written, and bytes in all.

        A prior that no chunk was coded with is not named.
        """
        if not any(stored.method is Method.PREDICTED for stored in self.chunks):
            header = replace(header, prior=None)
        header.check()
        head = write_header(header, self.chunks)
        num_bytes = len(head) + self.file.tell()
        self.file.seek(0)
        out.write(head)
        shutil.copyfileobj(self.file, out)
        return header, num_bytes


@contextmanager
def chunk_spool() -> Iterator[ChunkSpool]:
    """An empty one; long contents lie on disk, and all is gone at the end."""
    with Spool() as spool:
        yield ChunkSpool(cast(BinaryIO, spool))
