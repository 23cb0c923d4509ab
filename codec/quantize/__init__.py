"""Quantizers: latents to codes and back, and codebooks that learn."""

from codec.quantize.base import NonFiniteError, Quantizer
from codec.quantize.build import QuantizerConfig, build_quantizer, parse_quantizer

__all__ = ["NonFiniteError", "Quantizer", "QuantizerConfig", "build_quantizer", "parse_quantizer"]
