"""Recordings and pictures to .vqc files and back; the format is docs/file-format.md."""

from codec.files.compress import encode_file
from codec.files.decompress import decode_file
from codec.files.info import read_info
from codec.files.report import Damage, FileInfo, FileReport

__all__ = ["Damage", "FileInfo", "FileReport", "decode_file", "encode_file", "read_info"]
