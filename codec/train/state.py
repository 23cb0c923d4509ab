"""The whole state of a training run in one safetensors file.

Weights, codebooks with their EMA sums, optimiser moments and averaged weights are tensors; the rest is JSON in the
file's header. Random states are not saved: everything random at step n is seeded by (seed, n).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from codec.checkpoint.store import read_tensors, write_tensors
from codec.core.errors import UserError
from codec.train.average import WeightAverage

_KEY = "codec-training-state"


@dataclass
class Progress:
    """Where a run stands: steps done, and the best validation so far."""

    step: int = 0
    best_loss: float | None = None
    best_step: int | None = None


def save_state(
    path: Path,
    *,
    task: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: WeightAverage,
    progress: Progress,
) -> None:
    """Write the state to `path`, whole or not at all."""
    tensors = {f"task/{name}": tensor for name, tensor in task.state_dict().items()}
    tensors |= {f"average/{name}": tensor for name, tensor in average.shadow.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in moments.items()}
    write_tensors(path, tensors, header={_KEY: {**vars(progress), "average_updates": average.updates}})


def load_state(path: Path, *, task: nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage) -> Progress:
    """Put the state of `path` into freshly built objects.

    Raises:
        UserError: the file is damaged, or was saved by another configuration.
    """
    tensors, header = read_tensors(path)
    meta = _checked_meta(path, header)
    groups: dict[str, dict[str, Tensor]] = {"task": {}, "average": {}, "optimizer": {}}
    for key, tensor in tensors.items():
        group, _, name = key.partition("/")
        groups[group][name] = tensor
    _check_same_model(path, task, groups["task"])
    task.load_state_dict(groups["task"])
    optimizer.load_state_dict({**optimizer.state_dict(), "state": _moments(groups["optimizer"])})
    average.load(groups["average"], meta.pop("average_updates"))
    return Progress(**meta)


def _checked_meta(path: Path, header: dict[str, Any]) -> dict[str, Any]:
    """The fields of `Progress` and the number of updates of the average, all of them and nothing else."""
    if _KEY not in header:
        raise UserError(f"{path} is not a training state")
    meta, wanted = header[_KEY], {field.name for field in fields(Progress)} | {"average_updates"}
    if not isinstance(meta, dict) or meta.keys() != wanted:
        found = ", ".join(sorted(meta)) if isinstance(meta, dict) else type(meta).__name__
        raise UserError(
            f"{path} is no training state of this version: its header has {found or 'nothing'}, "
            f"wanted {', '.join(sorted(wanted))}: start a new run folder"
        )
    return dict(meta)


def _moments(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition("/")
        state.setdefault(int(index), {})[name] = tensor
    return state


def _check_same_model(path: Path, task: nn.Module, saved: dict[str, Tensor]) -> None:
    current = {name: tuple(tensor.shape) for name, tensor in task.state_dict().items()}
    for name in sorted(current.keys() | saved.keys()):
        got = tuple(saved[name].shape) if name in saved else None
        if got != current.get(name):
            raise UserError(
                f"{path} was saved by another configuration ({name} is {got}, want {current.get(name)}): "
                "resume with the run's own config.yaml, or start a new run folder"
            )
