"""Where a run computes: devices, precision, processes, and the random state of a step."""

from __future__ import annotations

import logging
import os
import warnings

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from codec.core.device import resolve_device
from codec.core.errors import UserError
from codec.core.precision import resolve_precision
from codec.train.config import LoopConfig


def build_fabric(config: LoopConfig) -> Fabric:
    """Devices, precision and, under torchrun, the process group. Call before anything is built.

    Products of matrices stay float32 on GPUs: the network has none outside autocast, and a lookup in TF32 would miss.

    Raises:
        UserError: no such device, or several tasks of SLURM that know nothing of each other.
    """
    _refuse_lone_tasks()
    device = resolve_device(config.device)
    if config.threads:
        torch.set_num_threads(config.threads)
    precision = {"bf16": "bf16-mixed", "fp32": "32-true"}[resolve_precision(config.precision, device)]
    _hush()
    launched = int(os.environ.get("WORLD_SIZE", "1")) > 1
    fabric = Fabric(
        accelerator=device.type,
        devices=int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if launched else _devices(device),
        num_nodes=int(os.environ.get("GROUP_WORLD_SIZE", "1")) if launched else 1,
        strategy=DDPStrategy(broadcast_buffers=False) if launched else "auto",
        precision=precision,  # pyright: ignore[reportArgumentType]
    )
    fabric.launch()
    seed_everything(config.seed, 0)
    return fabric


def seed_everything(seed: int, step: int, *, rank: int = 0) -> None:
    """Seed torch's random state on every device for one step of a run; weights are drawn alike on all ranks.

    The numbers are hashed together: torch's CPU generator looks at the lowest 32 bits only.
    """
    torch.manual_seed(int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1))


def _refuse_lone_tasks() -> None:
    """Without torchrun, every task of `srun` would train by itself, and all write into one run folder."""
    tasks = os.environ.get("SLURM_NTASKS", "1")
    if "SLURM_PROCID" in os.environ and "WORLD_SIZE" not in os.environ and tasks != "1":
        raise UserError(
            f"SLURM starts {tasks} tasks, each of which would train alone: start one task per node, "
            "and in it `torchrun --nproc-per-node=GPUS -m codec train ...`"
        )


def _hush() -> None:
    """Lightning's notes on what was asked for, and torch's on gradient layouts of height-1 pictures, are noise."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*broadcast_buffers.*")
    warnings.filterwarnings("ignore", message=".*Grad strides do not match.*")


def _devices(device: torch.device) -> int | list[int]:
    """One, and the very one that was asked for."""
    return 1 if device.index is None or device.type == "cpu" else [device.index]
