"""The bytes of a .vqc file: header, table of chunks, chunks with their checksums (docs/file-format.md)."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO

from codec.files.errors import (
    DamagedHeaderError,
    EmptyFileError,
    ForeignFileError,
    NewerVersionError,
    TruncatedFileError,
)
from codec.files.header import AudioHeader, Header, LevelHeader, PictureHeader, PriorHeader
from codec.files.method import Method
from codec.files.varint import ByteReader, varint

MAGIC = b"\x8aVQC"
VERSION = 2  # the newest; what an older one can say is written in that
MAX_NAME_BYTES = 255
CRC_BYTES = 4
_PICTURE, _RESAMPLED, _GREY, _ALPHA, _DEEP = 1, 2, 4, 8, 16
_KNOWN_FLAGS = 31


@dataclass(frozen=True, slots=True)
class Stored:
    """What one chunk takes in the file: bytes after its checksum, and what kind of bytes they are."""

    length: int
    method: Method = Method.COUNTED


@dataclass(frozen=True)
class Contents:
    """A parsed header and where everything is.

    Attributes:
        chunks: one per chunk, then one for the plane of transparency if there is one.
        offsets: of each chunk's checksum, from the start of the file.
        total_bytes: length of the whole file.
    """

    header: Header
    chunks: tuple[Stored, ...]
    offsets: tuple[int, ...]
    total_bytes: int

    @property
    def header_bytes(self) -> int:
        """Bytes before the first chunk: header and table."""
        return self.offsets[0]


def seal(index: int, data: bytes) -> bytes:
    """Chunk `index` as it stands in the file: CRC-32 of its index and its data, then the data."""
    return struct.pack("<I", _chunk_crc(index, data)) + data


def write_header(header: Header, chunks: Sequence[Stored]) -> bytes:
    """Magic, version, header, table of chunks, checksum."""
    assert len(chunks) == _num_stored(header)
    body = _body(header) + b"".join(_entry(stored, header.version) for stored in chunks)
    sealed = MAGIC + bytes([header.version]) + varint(len(body)) + body
    return sealed + struct.pack("<I", zlib.crc32(sealed))


def read_header(file: BinaryIO, name: str = "the file") -> Contents:
    """Parse what `write_header` wrote from a seekable `file`, checking everything before believing it.

    Raises:
        UserError: the one of codec.files.errors that tells what is wrong.
    """
    file_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(len(MAGIC) + 1)
    if not start:
        raise EmptyFileError(f"{name} is empty (0 bytes): there is nothing to decode")
    if not MAGIC.startswith(start[:4]):
        raise ForeignFileError(f"{name} is not a .vqc file: it starts with {start[:4]!r}, not {MAGIC!r}")
    if len(start) <= len(MAGIC):
        raise _cut_header(name, file_bytes)
    if start[4] > VERSION:
        raise NewerVersionError(
            f"{name} is a .vqc file of version {start[4]}; this release reads up to {VERSION}: upgrade vq-codec"
        )
    if start[4] == 0:
        raise DamagedHeaderError(f"{name} has a damaged header: version 0 does not exist")
    reader = ByteReader(file.read(9))
    try:
        length = reader.varint()
    except ValueError:
        if len(start) + 9 > file_bytes:
            raise _cut_header(name, file_bytes) from None
        raise DamagedHeaderError(f"{name} has a damaged header: its length makes no sense") from None
    body_start = len(start) + reader.position
    if body_start + length + CRC_BYTES > file_bytes:
        raise _cut_header(name, file_bytes)
    file.seek(0)
    sealed = file.read(body_start + length)
    (crc,) = struct.unpack("<I", file.read(CRC_BYTES))
    if zlib.crc32(sealed) != crc:
        raise DamagedHeaderError(f"{name} has a damaged header: its checksum does not match, nothing can be decoded")
    try:
        header, chunks = _parse(ByteReader(sealed[body_start:]), start[4])
    except (ValueError, UnicodeDecodeError) as error:
        raise DamagedHeaderError(f"{name} has a header that makes no sense: {error}") from None
    *offsets, total = accumulate(
        (CRC_BYTES + stored.length for stored in chunks), initial=body_start + length + CRC_BYTES
    )
    return Contents(header, chunks, tuple(offsets), total)


def read_chunk(file: BinaryIO, contents: Contents, index: int) -> bytes:
    """Data of chunk `index`, its checksum verified.

    Raises:
        TruncatedFileError: the file ends before the chunk does.
        ValueError: the checksum does not match.
    """
    size = CRC_BYTES + contents.chunks[index].length
    file.seek(0, os.SEEK_END)
    if contents.offsets[index] + size > file.tell():  # asked first: a forged length allocates nothing
        raise TruncatedFileError("the file ends before it")
    file.seek(contents.offsets[index])
    sealed = file.read(size)
    if len(sealed) < size:
        raise TruncatedFileError("the file ends before it")
    data = sealed[CRC_BYTES:]
    if struct.unpack("<I", sealed[:CRC_BYTES])[0] != _chunk_crc(index, data):
        raise ValueError("its checksum does not match")
    return data


def _body(header: Header) -> bytes:
    media = header.media
    if isinstance(media, AudioHeader):
        flags = _RESAMPLED * (media.sample_rate != media.model_rate)
        fields = [media.sample_rate, media.num_samples, media.channels]
        fields += [media.model_rate] if flags else []
    else:
        flags = _PICTURE | _GREY * media.grey | _ALPHA * media.alpha | _DEEP * media.deep
        fields = [media.width, media.height]
    fields += [header.rows, len(header.levels)]
    for level in header.levels:
        fields += [level.downsample_factor, level.codebook_size, level.num_active]
    fields += header.step
    names = _named(header.model, header.fingerprint)
    if header.prior is not None:
        same = header.prior.name == header.model
        names += _named("" if same else header.prior.name, header.prior.fingerprint)
    return bytes([flags]) + names + b"".join(varint(field) for field in fields)


def _named(name: str, fingerprint: str) -> bytes:
    encoded = name.encode()
    assert len(encoded) <= MAX_NAME_BYTES
    return varint(len(encoded)) + encoded + bytes.fromhex(fingerprint)


def _entry(stored: Stored, version: int) -> bytes:
    return varint(stored.length << version | stored.method)


def _parse(reader: ByteReader, version: int) -> tuple[Header, tuple[Stored, ...]]:
    flags = reader.take(1)[0]
    if flags & ~_KNOWN_FLAGS:
        raise ValueError(f"unknown flags {flags:#x}")
    name, fingerprint = _parse_named(reader)
    prior = PriorHeader(*_parse_named(reader, default=name)) if version > 1 else None
    media: AudioHeader | PictureHeader
    if flags & _PICTURE:
        width, height = reader.varint(), reader.varint()
        media = PictureHeader(width, height, bool(flags & _GREY), bool(flags & _ALPHA), bool(flags & _DEEP))
    else:
        sample_rate, num_samples, channels = reader.varint(), reader.varint(), reader.varint()
        media = AudioHeader(sample_rate, num_samples, channels, reader.varint() if flags & _RESAMPLED else sample_rate)
    rows, num_levels = reader.varint(), reader.varint()
    if 3 * num_levels > reader.remaining:
        raise ValueError("impossible number of levels")
    levels = tuple(LevelHeader(reader.varint(), reader.varint(), reader.varint()) for _ in range(num_levels))
    step = tuple(reader.varint() for _ in (range(2) if flags & _PICTURE else range(1)))
    header = Header(name, fingerprint, media, rows, levels, step, prior)
    header.check()
    if _num_stored(header) > reader.remaining:
        raise ValueError("more chunks than the table has room for")
    entries = [reader.varint() for _ in range(_num_stored(header))]
    if reader.remaining:
        raise ValueError("bytes left over")
    return header, tuple(Stored(entry >> version, Method(entry & (1 << version) - 1)) for entry in entries)


def _parse_named(reader: ByteReader, default: str = "") -> tuple[str, str]:
    name = reader.take(reader.varint()).decode()
    return name or default, reader.take(8).hex()


def _num_stored(header: Header) -> int:
    alpha = isinstance(header.media, PictureHeader) and header.media.alpha
    return header.num_chunks + alpha


def _chunk_crc(index: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(struct.pack("<I", index)))


def _cut_header(name: str, file_bytes: int) -> TruncatedFileError:
    return TruncatedFileError(f"{name} is cut short: its {file_bytes} bytes end inside the header")
