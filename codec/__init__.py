"""VQ-VAE and VQ-VAE-2 for sound and pictures: train, compress to real files, measure.

import codec

model = codec.load("speech-16k")
codes = model.encode(signal)                                # signal [b, 1, time] in [-1, 1]
signal = model.decode(codes, size=(signal.shape[-1],))
codec.encode_file("talk.wav", "talk.vqc", model)
codec.decode_file("talk.vqc", "talk.flac")
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from codec.core.lazy import lazy_names

if TYPE_CHECKING:
    from codec.checkpoint import list_models
    from codec.checkpoint import load_model as load
    from codec.core.errors import UserError
    from codec.files import decode_file, encode_file, read_info

try:
    __version__ = version("vq-codec")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0.0.0"

_LAZY = {
    "UserError": ("codec.core.errors", "UserError"),
    "decode_file": ("codec.files", "decode_file"),
    "encode_file": ("codec.files", "encode_file"),
    "list_models": ("codec.checkpoint", "list_models"),
    "load": ("codec.checkpoint", "load_model"),
    "read_info": ("codec.files", "read_info"),
}

__all__ = ["UserError", "__version__", "decode_file", "encode_file", "list_models", "load", "read_info"]


__getattr__ = lazy_names(__name__, _LAZY)  # so that `codec --help` need not wait for torch
