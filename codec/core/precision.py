"""Which precision to compute in: bf16 where the machine gains from it, float32 islands where the result needs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

import torch

from codec.core.errors import UserError

Precision = Literal["auto", "bf16", "fp32"]


def float32_island(device_type: str) -> AbstractContextManager[object]:
    """Autocast and short products off inside: distances, EMA statistics and losses are float32 whatever surrounds them.

    A compiled graph keeps the products that `torch.set_float32_matmul_precision` chose: a graph cannot change that.
    """
    autocast = torch.autocast(device_type, enabled=False)
    return autocast if torch.compiler.is_compiling() else _full_products(autocast, device_type)


@contextmanager
def _full_products(autocast: AbstractContextManager[object], device_type: str) -> Iterator[None]:
    library: Any = torch.backends.cuda if device_type == "cuda" else torch.backends.mkldnn
    backend = library.matmul
    before = backend.fp32_precision
    backend.fp32_precision = "ieee"
    try:
        with autocast:
            yield
    finally:
        backend.fp32_precision = before


def resolve_precision(precision: Precision, device: torch.device) -> Precision:
    """Turn `auto` into `bf16` on GPUs and CPUs with fast bfloat16 products, else `fp32`."""
    if precision != "auto":
        if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
            raise UserError("precision 'bf16' asked for, but this GPU has no bfloat16: use precision fp32")
        return precision
    return "bf16" if _has_fast_bf16(device) else "fp32"


def _has_fast_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    cpu = getattr(torch, "cpu", None)
    return bool(cpu and (cpu._is_amx_tile_supported() or cpu._is_avx512_bf16_supported()))
