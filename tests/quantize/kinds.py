"""One small configuration or more of every kind of quantizer; a kind without one fails the conformance tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from codec.quantize.base import Quantizer
from codec.quantize.build import build_quantizer, parse_quantizer

DIM = 6

_SIZE = {"codebook_size": 12}
_SMALL = {**_SIZE, "restart_limit": 4, "restart_cooldown": 2, "restart_below": 0.3}
_EMA = {"kind": "ema", **_SMALL}
_ALL_LOSSES = {"orthogonal": True, "entropy_temperature": 0.5}

SPECS: dict[str, dict[str, Any]] = {
    "ema": _EMA,
    "ema-normal": {**_EMA, "init": "normal"},
    "ema-projected": {**_EMA, "codebook_dim": 3},
    "ema-cosine": {**_EMA, "lookup": "cosine", "codebook_dim": 4},
    "ema-rotation": {**_EMA, "estimator": "rotation", "entropy_temperature": 0.5},
    "gradient": {"kind": "gradient", **_SMALL},
    "gradient-projected": {"kind": "gradient", **_SMALL, "codebook_dim": 3},
    "gradient-cosine": {"kind": "gradient", **_SMALL, "lookup": "cosine", **_ALL_LOSSES},
    "gradient-diveq": {"kind": "gradient", **_SMALL, "estimator": "diveq"},
    "simvq": {"kind": "simvq", **_SIZE},
    "simvq-losses": {"kind": "simvq", **_SIZE, "codebook_dim": 3, "lookup": "cosine", **_ALL_LOSSES},
    "ibq": {"kind": "ibq", **_SIZE},
    "ibq-projected": {"kind": "ibq", **_SIZE, "codebook_dim": 3, "entropy_temperature": 0.5},
    "gumbel": {"kind": "gumbel", **_SIZE, "anneal_steps": 6},
    "gumbel-projected": {"kind": "gumbel", **_SIZE, "codebook_dim": 3},
    "fsq": {"kind": "fsq", "levels": [4, 3, 2, 5, 4, 3]},
    "fsq-projected": {"kind": "fsq", "levels": [4, 3]},
    "lfq": {"kind": "lfq", "codebook_bits": DIM, "group_bits": 4},
    "lfq-projected": {"kind": "lfq", "codebook_bits": 4},
    "bsq": {"kind": "bsq", "codebook_bits": DIM},
    "bsq-projected": {"kind": "bsq", "codebook_bits": 4, "group_bits": 3},
    "residual": {"kind": "residual", "num_codebooks": 3, "codebook": _EMA},
    "residual-dropout": {"kind": "residual", "num_codebooks": 3, "dropout": 0.7, "codebook": _EMA},
    "residual-gradient": {
        "kind": "residual",
        "num_codebooks": 2,
        "codebook": {"kind": "gradient", **_SMALL, "codebook_dim": 3},
    },
    "residual-paths": {"kind": "residual", "num_codebooks": 3, "paths": 4, "bit_weight": 0.1, "codebook": _EMA},
    "residual-rated": {"kind": "residual", "num_codebooks": 3, "paths": 4, "rate_weight": 0.5, "codebook": _EMA},
    "residual-shared": {"kind": "residual", "num_codebooks": 3, "shared": True, "codebook": _EMA},
    "residual-fsq": {"kind": "residual", "num_codebooks": 3, "codebook": {"kind": "fsq", "levels": [4, 3]}},
    "residual-lfq": {"kind": "residual", "num_codebooks": 3, "codebook": {"kind": "lfq", "codebook_bits": DIM}},
    "residual-bsq": {"kind": "residual", "num_codebooks": 2, "codebook": {"kind": "bsq", "codebook_bits": 4}},
    "residual-simvq": {"kind": "residual", "num_codebooks": 2, "codebook": {"kind": "simvq", **_SIZE}},
    "residual-ibq": {"kind": "residual", "num_codebooks": 2, "codebook": {"kind": "ibq", **_SIZE}},
    "residual-gumbel": {"kind": "residual", "num_codebooks": 2, "codebook": {"kind": "gumbel", **_SIZE}},
    "grouped": {"kind": "grouped", "num_groups": 2, "group": {**_EMA, "codebook_dim": 2}},
    "grouped-residual": {
        "kind": "grouped",
        "num_groups": 3,
        "group": {"kind": "residual", "num_codebooks": 2, "codebook": _EMA},
    },
    "grouped-lfq": {"kind": "grouped", "num_groups": 2, "group": {"kind": "lfq", "codebook_bits": 3}},
    "multihead": {"kind": "multihead", "num_heads": 2, "codebook": _EMA},
    "multihead-projected": {"kind": "multihead", "num_heads": 3, "codebook": {**_EMA, "codebook_dim": 4}},
    "multihead-fsq": {"kind": "multihead", "num_heads": 2, "codebook": {"kind": "fsq", "levels": [4, 3, 3]}},
}


# The first of each kind.
ONE_OF_EACH = list({spec["kind"]: name for name, spec in reversed(SPECS.items())}.values())
# Others draw random numbers for every sample or position, so that they depend on the layout of a batch.
DETERMINISTIC = [name for name in SPECS if name not in ("residual-dropout", "residual-gumbel")]


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
