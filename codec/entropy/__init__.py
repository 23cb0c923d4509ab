"""Lossless coding of codes: integer probability tables, a range coder over them, and plain bit packing."""

from codec.entropy.bitpack import bits_per_symbol, pack_bits, packed_size, unpack_bits
from codec.entropy.family import TableFamily
from codec.entropy.range_coder import (
    InvalidCodeStreamError,
    SymbolDecoder,
    SymbolEncoder,
    decode_symbols,
    encode_symbols,
)
from codec.entropy.table import TOTAL, FrequencyTable, normalise_counts

__all__ = [
    "TOTAL",
    "FrequencyTable",
    "InvalidCodeStreamError",
    "SymbolDecoder",
    "SymbolEncoder",
    "TableFamily",
    "bits_per_symbol",
    "decode_symbols",
    "encode_symbols",
    "normalise_counts",
    "pack_bits",
    "packed_size",
    "unpack_bits",
]
