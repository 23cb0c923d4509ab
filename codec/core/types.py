"""Records that pass between floors."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Quantized:
    """What a quantizer makes of latents.

    Attributes:
        latents: quantized latents `[b, d, *space]`, differentiable through the straight-through estimator.
        codes: `[b, q, *space]`, int64.
        losses: unweighted 0-d losses by name (`commitment`, `codebook`, ...).
        stats: detached 0-d figures by name (`usage`, `perplexity`, `distortion`, `restarts`, ...).
    """

    latents: Tensor
    codes: Tensor
    losses: dict[str, Tensor] = field(default_factory=dict)
    stats: dict[str, Tensor] = field(default_factory=dict)
