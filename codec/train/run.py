"""The folder of one training run: config, checkpoints, logs."""

from __future__ import annotations

import json
from pathlib import Path

from codec.core.config import Config, save_config
from codec.core.errors import UserError


class RunFolder:
    """`config.yaml`, `checkpoints/last.safetensors` (the training state), `checkpoints/best/` (a model), `logs/`.

    Raises:
        UserError: `resume` is asked for and there is nothing to resume, or the folder holds another run.
    """

    def __init__(self, path: str | Path, *, resume: bool = False):
        self.path = Path(path)
        self.resume = resume
        if resume and not self.last.exists():
            raise UserError(f"{self.path} has no {self.last.relative_to(self.path)}: nothing to resume")
        if not resume and self.last.exists():
            raise UserError(f"{self.path} already holds a run: pass --resume to go on, or choose another folder")

    @classmethod
    def of_stage(cls, path: Path, *, resume: bool) -> RunFolder:
        """The folder of a training within a run: with `resume` one to go on with, if anything was saved there."""
        return cls(path, resume=resume and (path / "checkpoints" / "last.safetensors").exists())

    @property
    def name(self) -> str:
        """The run's name, which its exported model gets."""
        return self.path.resolve().name

    @property
    def last(self) -> Path:
        """The newest training state."""
        return self.path / "checkpoints" / "last.safetensors"

    @property
    def best(self) -> Path:
        """The model folder of the best validation so far."""
        return self.path / "checkpoints" / "best"

    @property
    def logs(self) -> Path:
        """TensorBoard events and metrics.jsonl."""
        return self.path / "logs"

    def save_config(self, config: Config) -> None:
        """Record the full config of the run."""
        save_config(config, self.path / "config.yaml")

    @property
    def config_path(self) -> Path:
        """The recorded config."""
        return self.path / "config.yaml"


def read_metrics(run: RunFolder) -> list[dict]:
    """Every logged line of a run, oldest first: `{"step": n, "split": "train" | "validation", name: value, ...}`.

    A last line that a killed run left half written is dropped.
    """
    path = run.logs / "metrics.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().rpartition("\n")[0].splitlines()]
