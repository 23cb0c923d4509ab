"""Recordings and pictures to .vqc files and back; the format is docs/file-format.md."""

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
