"""The optimiser and its step size as a function of the step alone."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from codec.train.config import OptimizerConfig


def build_optimizer(
    parameters: Iterable[nn.Parameter], config: OptimizerConfig, *, device: torch.device
) -> torch.optim.Optimizer:
    """AdamW, fused on GPUs."""
    return torch.optim.AdamW(
        parameters,
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=device.type == "cuda",
    )


def learning_rate(step: int, *, config: OptimizerConfig, total_steps: int) -> float:
    """Step size at `step` (from 0): linear warm-up, then cosine from the peak to `final_fraction` of it."""
    warmup = min(1.0, (step + 1) / (config.warmup_steps + 1))
    progress = min(1.0, step / total_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return config.learning_rate * warmup * (config.final_fraction + (1 - config.final_fraction) * cosine)
