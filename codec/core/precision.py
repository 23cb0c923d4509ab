"""Which precision to compute in: bf16 where the machine gains from it, float32 islands where the result needs it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import torch

from codec.core.errors import UserError

Precision = Literal["auto", "bf16", "fp32"]


def float32_island(device_type: str) -> AbstractContextManager[object]:
    """Autocast off inside: distances, EMA statistics and losses are float32 whatever surrounds them."""
    return torch.autocast(device_type, enabled=False)


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
