"""The training loop: it knows devices, steps and saving, and no model.

Everything random at step n is seeded by (seed, n), and the loader's batch n is a function of n, so a run that was
killed and resumed takes exactly the steps of one that was not.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from codec.core import dist
from codec.core.config import Config
from codec.core.errors import UserError
from codec.quantize.base import NonFiniteError
from codec.train.adversarial import Adversary, parameter_groups
from codec.train.average import WeightAverage
from codec.train.config import LoopConfig
from codec.train.fabric import seed_everything
from codec.train.monitor import NUM_SAMPLES, Monitor, RunMonitor, SilentMonitor, to_floats
from codec.train.nonfinite import Undo, blame
from codec.train.optim import build_optimizer, clip_gradients, prepare_update
from codec.train.run import RunFolder
from codec.train.signals import StopRequest
from codec.train.state import Progress, load_state, save_state


class Batch(Protocol):
    """What the loop needs of a batch: a signal, a mask or None, and the names to blame."""

    @property
    def signal(self) -> Tensor: ...

    @property
    def mask(self) -> Tensor | None: ...

    @property
    def names(self) -> tuple[str, ...]: ...


class TrainingData(Protocol):
    """Batches as a function of the step."""

    def prefetch(self, start_step: int) -> Iterator[tuple[int, Any]]: ...


class ValidationData(Protocol):
    """Batches to go through as often as one likes, such as a list, or a reader that starts anew."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


class Task(Protocol):
    """One objective; an `nn.Module` whose forward gives `{"losses": ..., "stats": ...}`."""

    sample_rate: int | None

    def total(self, losses: dict[str, Tensor]) -> Tensor: ...

    def samples(self, signal: Tensor) -> dict[str, Tensor]: ...

    def export(self, folder: Path, *, name: str) -> None: ...


def train(
    task: nn.Module,
    *,
    fabric: Fabric,
    data: TrainingData,
    validation: ValidationData,
    config: LoopConfig,
    run: RunFolder,
    recipe: Config,
) -> Progress:
    """Train `task` for `config.steps` steps, or go on from where `run` stands; returns where it stopped.

    Args:
        recipe: the whole config, recorded in the run folder.

    Raises:
        UserError: a loss, the data or the gradient is NaN or Inf (naming the batch's files); nothing of that step
            is kept.
    """
    trainer = _Trainer(task, fabric=fabric, config=config, run=run)
    if fabric.is_global_zero:
        run.save_config(recipe)
    monitor: Monitor = (
        RunMonitor(run, start_step=trainer.progress.step, total_steps=config.steps)
        if fabric.is_global_zero
        else SilentMonitor()
    )
    try:
        trainer.fit(data, validation, monitor)
    finally:
        monitor.close()
    return trainer.progress


class _Trainer:
    """The moving parts of one run."""

    def __init__(self, task: nn.Module, *, fabric: Fabric, config: LoopConfig, run: RunFolder):
        self.fabric, self.config, self.run = fabric, config, run
        task = task.to(fabric.device)
        self.task: Any = task
        self.adversary: Adversary | None = getattr(task, "adversary", None)
        self.groups = parameter_groups(task, config.optimizer)
        optimizer = build_optimizer(self.groups, device=fabric.device)
        self.average = WeightAverage(task, config.average_decay)
        self.progress = Progress()
        if run.resume:
            self.progress = load_state(run.last, task=task, optimizer=optimizer, average=self.average)
        compiled = torch.compile(task) if config.compile else task
        self.wrapped, self.optimizer = fabric.setup(compiled, optimizer)  # pyright: ignore[reportArgumentType]
        self._undo = Undo(task)
        self._steps_taken = 0
        self._saved_step = self.progress.step if run.resume else None

    def fit(self, data: TrainingData, validation: ValidationData, monitor: Monitor) -> None:
        """Steps until done, out of time or asked to stop; then save."""
        config, progress = self.config, self.progress
        deadline = time.monotonic() + 60 * config.max_minutes if config.max_minutes else float("inf")
        clock = _Throughput()
        validates = dist.any_rank(len(validation) > 0, device=self.fabric.device)
        with StopRequest(self.fabric.device) as stop:
            steps = itertools.islice(data.prefetch(progress.step), max(0, config.steps - progress.step))
            for step, batch in steps:
                losses, figures = self._step(step, batch)
                progress.step = step + 1
                clock.count(len(batch.names) * self.fabric.world_size)
                if progress.step % config.log_every == 0 or progress.step == config.steps:
                    values = to_floats(losses | figures)
                    monitor.log(progress.step, "train", values)
                    monitor.advance(progress.step, _summary(values, losses, clock.items_per_second()))
                if validates and (progress.step % config.validate_every == 0 or progress.step == config.steps):
                    self._validate(validation, monitor)
                if progress.step % config.save_every == 0:
                    self._save()
                if stop(also=time.monotonic() > deadline):
                    break
        self._save()
        if progress.best_step is None:
            with self.average.applied():
                self._export()
        monitor.tell(_farewell(progress, config, self.run))

    def _step(self, step: int, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """One update; nothing is updated when anything is not finite."""
        seed_everything(self.config.seed, step, rank=self.fabric.global_rank)
        self.wrapped.train()
        if self.adversary:
            self.adversary.begin(step)
        inputs, told = self._to_device(batch)
        self._undo.keep()
        try:
            with self._first_step_uncompiled():
                outcome = self.wrapped(*inputs, **told)
        except NonFiniteError:
            self._undo.restore()
            raise blame("the encoder's output is", signal=batch.signal, names=batch.names, losses={}) from None
        losses: dict[str, Tensor] = outcome["losses"]
        total = self.task.total(losses)
        self.fabric.backward(total)
        norms = clip_gradients(self.groups)
        if not bool(torch.isfinite(dist.all_reduce_sum(total.detach() + sum(norms.values())))):
            self._undo.restore()
            raise blame("the gradient is", signal=batch.signal, names=batch.names, losses=to_floats(losses))
        rates = prepare_update(self.optimizer, self.groups, step=step, total_steps=self.config.steps)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.average.update()
        figures = {"total": total, **outcome["stats"], **norms}
        figures |= {name: torch.tensor(rate) for name, rate in rates.items()}
        return (
            {name: loss.detach() for name, loss in losses.items()},
            {name: value.detach().to(self.fabric.device) for name, value in figures.items()},
        )

    def _first_step_uncompiled(self) -> AbstractContextManager[object]:
        """Codebooks find their start in the first step: in a graph, k-means would run at every step."""
        first, self._steps_taken = self._steps_taken == 0, self._steps_taken + 1
        return torch.compiler.set_stance("force_eager") if self.config.compile and first else nullcontext()

    @torch.no_grad()
    def _validate(self, batches: ValidationData, monitor: Monitor) -> None:
        """Mean figures over the items of all batches and ranks, with averaged weights; export them if best so far."""
        progress = self.progress
        self.wrapped.eval()
        with self.average.applied():
            sums: dict[str, float] = {}
            items, shown = 0, None
            for batch in batches:
                inputs, told = self._to_device(batch)
                shown = inputs[0][:NUM_SAMPLES] if shown is None else shown
                try:
                    outcome = self._outcome(*inputs, **told)
                except NonFiniteError:
                    raise UserError(f"validation met NaN or Inf in {', '.join(batch.names)}: look at these") from None
                for name, value in to_floats(outcome).items():
                    sums[name] = sums.get(name, 0.0) + value * len(batch.names)
                items += len(batch.names)
            means = self._mean_over_ranks(sums, items)
            monitor.log(progress.step, "validation", means)
            if shown is not None:
                monitor.show(progress.step, self.task.samples(shown), sample_rate=self.task.sample_rate)
            if math.isfinite(means["total"]) and (progress.best_loss is None or means["total"] < progress.best_loss):
                progress.best_loss, progress.best_step = means["total"], progress.step
                self._export()

    def _outcome(self, *inputs: Tensor | None, **told: Tensor) -> dict[str, Tensor]:
        """Losses, their weighted total and statistics of one batch, in the run's precision."""
        with self.fabric.autocast():
            outcome = self.task(*inputs, **told)
        return {"total": self.task.total(outcome["losses"]), **outcome["losses"], **outcome["stats"]}

    def _mean_over_ranks(self, sums: dict[str, float], items: int) -> dict[str, float]:
        """Every rank must call it, and may have no items as long as another has some."""
        gathered = dist.all_gather_values((sums, items))
        total_items = sum(count for _, count in gathered)
        names = next(part for part, count in gathered if count)
        return {name: sum(part.get(name, 0.0) for part, _ in gathered) / total_items for name in names}

    def _save(self) -> None:
        """The whole state, unless it is on disk already."""
        if self.fabric.is_global_zero and self._saved_step != self.progress.step:
            optimizer = getattr(self.optimizer, "optimizer", self.optimizer)
            save_state(
                self.run.last,
                task=self.task,
                optimizer=optimizer,
                average=self.average,
                progress=self.progress,
            )
            self._saved_step = self.progress.step

    def _export(self) -> None:
        if self.fabric.is_global_zero:
            self.task.export(self.run.best, name=self.run.name)

    def _to_device(self, batch: Batch) -> tuple[tuple[Tensor, Tensor | None], dict[str, Tensor]]:
        """What the task is given: the signal and the mask or None, and what else the batch tells, by name."""
        device = self.fabric.device
        signal = batch.signal.to(device, non_blocking=True)
        if signal.dim() == 4:
            signal = signal.to(memory_format=torch.channels_last)
        mask = None if batch.mask is None else batch.mask.to(device, non_blocking=True)
        told: Mapping[str, Tensor] = getattr(batch, "told", {})
        return (signal, mask), {name: tensor.to(device, non_blocking=True) for name, tensor in told.items()}


class _Throughput:
    """Items per second since it was last asked."""

    def __init__(self) -> None:
        self._items, self._since = 0, time.monotonic()

    def count(self, items: int) -> None:
        self._items += items

    def items_per_second(self) -> float:
        now = time.monotonic()
        rate = self._items / max(now - self._since, 1e-9)
        self._items, self._since = 0, now
        return rate


def _farewell(progress: Progress, config: LoopConfig, run: RunFolder) -> str:
    done = progress.step >= config.steps
    state = "done" if done else f"stopped at step {progress.step} of {config.steps}, go on with --resume"
    tested = "not validated yet" if progress.best_step is None else f"best at step {progress.best_step}"
    return f"{state}; model ({tested}): {run.best}"


def _summary(values: dict[str, float], losses: dict[str, Tensor], items_per_second: float) -> str:
    shown = [f"{name} {values[name]:.4g}" for name in losses]
    if "perplexity" in values:
        shown.append(f"perplexity {values['perplexity']:.0f}")
    return "  ".join([f"{items_per_second:.1f} items/s", *shown])
