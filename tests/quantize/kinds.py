"""One small configuration or more of every kind of quantizer; a kind without one fails the conformance tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from codec.quantize.base import Quantizer
from codec.quantize.build import build_quantizer, parse_quantizer

DIM = 6

_SMALL = {"codebook_size": 12, "restart_limit": 4, "restart_cooldown": 2, "restart_below": 0.3}

SPECS: dict[str, dict[str, Any]] = {
    "ema": {"kind": "ema", **_SMALL},
    "ema-normal": {"kind": "ema", **_SMALL, "init": "normal"},
    "ema-projected": {"kind": "ema", **_SMALL, "codebook_dim": 3},
    "gradient": {"kind": "gradient", **_SMALL},
    "gradient-projected": {"kind": "gradient", **_SMALL, "codebook_dim": 3},
    "residual": {"kind": "residual", "num_codebooks": 3, "codebook": {"kind": "ema", **_SMALL}},
    "residual-dropout": {
        "kind": "residual",
        "num_codebooks": 3,
        "dropout": 0.7,
        "codebook": {"kind": "ema", **_SMALL},
    },
    "residual-gradient": {
        "kind": "residual",
        "num_codebooks": 2,
        "codebook": {"kind": "gradient", **_SMALL, "codebook_dim": 3},
    },
}


def build(name: str, *, seed: int = 0, dim: int = DIM) -> Quantizer:
    """The quantizer of that specification, new and in training mode."""
    torch.manual_seed(seed)
    return build_quantizer(parse_quantizer(SPECS[name]), dim)


def trained(name: str, *, steps: int = 4) -> Quantizer:
    """The same after some steps, in eval mode."""
    quantizer = build(name)
    for step in range(steps):
        torch.manual_seed(step)
        quantizer(latents(step))
    return quantizer.eval()


def latents(seed: int, *, batch: int = 3, length: int = 20, dim: int = DIM) -> Tensor:
    """Latents `[batch, dim, length]` around a few centres, which drift with the seed."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(5, dim, generator=torch.Generator().manual_seed(99)) * 3 + 0.1 * seed
    choice = torch.randint(5, (batch, length), generator=generator)
    noise = torch.randn(batch, length, dim, generator=generator)
    return (centres[choice] + 0.3 * noise).movedim(-1, 1).contiguous()
