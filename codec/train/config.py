"""What a training loop can be told."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from codec.core.config import Config
from codec.core.precision import Precision

Fraction = Annotated[float, Field(ge=0, lt=1)]


class OptimizerConfig(Config):
    """AdamW with linear warm-up and cosine decay.

    Attributes:
        learning_rate: peak step size.
        warmup_steps: steps from 0 to the peak.
        final_fraction: share of the peak left at the last step; 1 keeps it constant.
        grad_clip: largest norm of the whole gradient; None leaves it be.
    """

    learning_rate: PositiveFloat = 3e-4
    betas: tuple[Fraction, Fraction] = (0.9, 0.99)
    weight_decay: NonNegativeFloat = 0.0
    warmup_steps: NonNegativeInt = 200
    final_fraction: float = Field(default=1.0, ge=0, le=1)
    grad_clip: PositiveFloat | None = 1.0


class LoopConfig(Config):
    """How long to train, how often to look, what to keep, and on what machine.

    Attributes:
        steps: optimiser steps of the whole run, over all resumptions.
        seed: decides weights, data order and every random choice of training.
        max_minutes: stop cleanly after this time even if steps are left; resume goes on.
        validate_every: steps between validations, each followed by a look at whether this model is the best.
        save_every: steps between saves of the training state.
        average_decay: decay of the averaged weights that are validated and exported; 0 turns averaging off.
        device: auto (CUDA where present), cpu or cuda (cuda:1 for the second).
        compile: pass the task through torch.compile, after a first step that is not.
    """

    steps: PositiveInt
    seed: NonNegativeInt = 0
    max_minutes: PositiveFloat | None = None
    log_every: PositiveInt = 20
    validate_every: PositiveInt = 1000
    save_every: PositiveInt = 500
    average_decay: Fraction = 0.999
    device: str = "auto"
    precision: Precision = "auto"
    compile: bool = False
    threads: PositiveInt | None = None
    optimizer: OptimizerConfig = OptimizerConfig()
