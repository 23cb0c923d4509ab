"""What a .vqc file says about itself, without its model."""

from __future__ import annotations

import os
from dataclasses import asdict

from codec.files.container import read_chunk, read_header
from codec.files.damage import damage_at
from codec.files.errors import TruncatedFileError
from codec.files.header import AudioHeader, PictureHeader
from codec.files.method import Method
from codec.files.report import FileInfo, media_fields
from codec.files.streams import Place, open_input, shown


def read_info(source: Place) -> FileInfo:
    """Read the header of a .vqc file and verify the checksum of every chunk.

    Args:
        source: a path, `-` for standard input, or an open binary file.

    Raises:
        UserError: see codec.files.errors; damaged chunks are not an error but listed in `damage`.
    """
    with open_input(source) as file:
        contents = read_header(file, shown(source))
        header, media = contents.header, contents.header.media
        num_bytes = file.seek(0, os.SEEK_END)
        damage = []
        for index in range(len(contents.chunks)):
            try:
                read_chunk(file, contents, index)
            except (ValueError, TruncatedFileError) as error:
                damage.append(damage_at(header, index, error))
    return FileInfo(
        source=shown(source),
        version=header.version,
        model=header.model,
        fingerprint=header.fingerprint,
        prior=header.prior.name if header.prior else None,
        prior_fingerprint=header.prior.fingerprint if header.prior else None,
        bytes=num_bytes,
        expected_bytes=contents.total_bytes,
        header_bytes=contents.header_bytes,
        levels=tuple(asdict(level) for level in header.levels),
        chunk_codes=header.step,
        num_chunks=header.num_chunks,
        packed_chunks=sum(stored.method is Method.PACKED for stored in contents.chunks),
        predicted_chunks=sum(stored.method is Method.PREDICTED for stored in contents.chunks),
        model_rate=media.model_rate if isinstance(media, AudioHeader) else None,
        grey=media.grey if isinstance(media, PictureHeader) else None,
        alpha=media.alpha if isinstance(media, PictureHeader) else None,
        deep=media.deep if isinstance(media, PictureHeader) else None,
        damage=tuple(damage),
        **media_fields(header, num_bytes),
    )
