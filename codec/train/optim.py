"""The optimiser: groups of parameters with rules of their own, and step sizes as functions of the step alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codec.train.config import OptimizerConfig


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that are updated, clipped and scheduled apart from others.

    Attributes:
        name: added to the group's figures, unless empty.
        start_step: nothing is updated before this step, from which the schedule counts.
    """

    parameters: list[nn.Parameter]
    config: OptimizerConfig
    name: str = ""
    start_step: int = 0

    def figure(self, name: str) -> str:
        """What this group's `name` is logged as."""
        return f"{name}/{self.name}" if self.name else name


def build_optimizer(groups: Sequence[ParameterGroup], *, device: torch.device) -> torch.optim.Optimizer:
    """AdamW, fused on GPUs; no group knows of another, as if each had one of its own."""
    rules = [
        {
            "params": group.parameters,
            "lr": group.config.learning_rate,
            "betas": group.config.betas,
            "weight_decay": group.config.weight_decay,
        }
        for group in groups
    ]
    return torch.optim.AdamW(rules, fused=device.type == "cuda")


def clip_gradients(groups: Sequence[ParameterGroup]) -> dict[str, Tensor]:
    """Shorten each group's gradient to its `grad_clip`; returns the norms before, 0-d by figure."""
    return {
        group.figure("grad_norm"): torch.nn.utils.clip_grad_norm_(
            group.parameters, group.config.grad_clip or float("inf")
        )
        for group in groups
    }


def prepare_update(
    optimizer: torch.optim.Optimizer, groups: Sequence[ParameterGroup], *, step: int, total_steps: int
) -> dict[str, float]:
    """Set the step sizes of `step` (from 0), by figure; groups that have not started lose their gradients."""
    rates = {}
    for rules, group in zip(optimizer.param_groups, groups, strict=True):
        own_step, own_steps = step - group.start_step, total_steps - group.start_step
        if own_step < 0:
            for parameter in group.parameters:
                parameter.grad = None
            continue
        rules["lr"] = rates[group.figure("learning_rate")] = learning_rate(
            own_step, config=group.config, total_steps=own_steps
        )
    return rates


def learning_rate(step: int, *, config: OptimizerConfig, total_steps: int) -> float:
    """Step size at `step` (from 0): linear warm-up, then cosine from the peak to `final_fraction` of it."""
    warmup = min(1.0, (step + 1) / (config.warmup_steps + 1))
    progress = min(1.0, step / total_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return config.learning_rate * warmup * (config.final_fraction + (1 - config.final_fraction) * cosine)
