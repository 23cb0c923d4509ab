"""What a run tells: metrics.jsonl for programs, TensorBoard for people, a progress bar for those who wait."""

from __future__ import annotations

import json
from typing import Protocol

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import make_grid

from codec.core.atomic import atomic_write_text
from codec.train.run import RunFolder, read_metrics

NUM_SAMPLES = 4


class Monitor(Protocol):
    """What the loop reports to."""

    def log(self, step: int, split: str, figures: dict[str, float]) -> None: ...

    def show(self, step: int, samples: dict[str, Tensor], *, sample_rate: int | None) -> None: ...

    def advance(self, step: int, text: str) -> None: ...

    def tell(self, text: str) -> None: ...

    def close(self) -> None: ...


class SilentMonitor:
    """For ranks other than the first."""

    def log(self, step: int, split: str, figures: dict[str, float]) -> None:
        """Nothing."""

    def show(self, step: int, samples: dict[str, Tensor], *, sample_rate: int | None) -> None:
        """Nothing."""

    def advance(self, step: int, text: str) -> None:
        """Nothing."""

    def tell(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class RunMonitor:
    """Writes to the run folder and the terminal. What was logged after `start_step` by a killed run is dropped."""

    def __init__(self, run: RunFolder, *, start_step: int, total_steps: int):
        kept = [line for line in read_metrics(run) if line["step"] <= start_step]
        self._metrics_path = run.logs / "metrics.jsonl"
        atomic_write_text(self._metrics_path, "".join(json.dumps(line) + "\n" for line in kept))
        self._tensorboard = SummaryWriter(str(run.logs), purge_step=start_step + 1)
        self._progress = Progress(
            TextColumn("[bold]{task.completed}/{task.total}"),
            BarColumn(bar_width=10),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
        )
        self._bar = self._progress.add_task(run.name, total=total_steps, completed=start_step, text="")
        self._progress.start()

    def log(self, step: int, split: str, figures: dict[str, float]) -> None:
        """One line in metrics.jsonl and a point on each curve."""
        with open(self._metrics_path, "a") as file:
            file.write(json.dumps({"step": step, "split": split, **figures}) + "\n")
        for name, value in figures.items():
            self._tensorboard.add_scalar(f"{split}/{name}", value, step)
        if split == "validation":
            listed = "  ".join(f"{name} {value:.4g}" for name, value in figures.items() if "/" not in name)
            self.tell(f"step {step} validation: {listed}")

    def show(self, step: int, samples: dict[str, Tensor], *, sample_rate: int | None) -> None:
        """Sound (`sample_rate` in Hz) or pictures (None) of the first few items."""
        for name, signal in samples.items():
            few = signal[:NUM_SAMPLES].detach().float().cpu()
            if sample_rate is None:
                self._tensorboard.add_image(name, make_grid((few + 1) / 2, nrow=NUM_SAMPLES).clamp(0, 1), step)
                continue
            for index, row in enumerate(few):
                self._tensorboard.add_audio(f"{name}/{index}", row.mean(0), step, sample_rate=sample_rate)

    def advance(self, step: int, text: str) -> None:
        """Move the bar."""
        self._progress.update(self._bar, completed=step, text=text)

    def tell(self, text: str) -> None:
        """One sentence to whoever is watching."""
        self._progress.console.print(text, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Flush and stop drawing."""
        self._progress.stop()
        self._tensorboard.close()


def to_floats(figures: dict[str, Tensor]) -> dict[str, float]:
    """0-d tensors to numbers, in one transfer from the device."""
    if not figures:
        return {}
    values = torch.stack([value.detach().float() for value in figures.values()]).tolist()
    return dict(zip(figures, values, strict=True))
