"""Recordings and pictures to .vqc files and back; the format is docs/file-format.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codec.core.lazy import lazy_names

if TYPE_CHECKING:
    from codec.files.compress import encode_file
    from codec.files.corpus import decode_folder, encode_folder
    from codec.files.decompress import decode_file
    from codec.files.info import read_info
    from codec.files.live import LiveDecoder, LiveEncoder, encode_batch
    from codec.files.recording import record, replay
    from codec.files.report import Damage, FileInfo, FileReport
    from codec.files.splice import concat_files, slice_file

__all__ = [
    "Damage",
    "FileInfo",
    "FileReport",
    "LiveDecoder",
    "LiveEncoder",
    "concat_files",
    "decode_file",
    "decode_folder",
    "encode_batch",
    "encode_file",
    "encode_folder",
    "read_info",
    "record",
    "replay",
    "slice_file",
]

_PLACES = {
    "compress": ("encode_file",),
    "corpus": ("decode_folder", "encode_folder"),
    "decompress": ("decode_file",),
    "info": ("read_info",),
    "live": ("LiveDecoder", "LiveEncoder", "encode_batch"),
    "recording": ("record", "replay"),
    "report": ("Damage", "FileInfo", "FileReport"),
    "splice": ("concat_files", "slice_file"),
}

__getattr__ = lazy_names(
    __name__, {name: (f"codec.files.{module}", name) for module, names in _PLACES.items() for name in names}
)
