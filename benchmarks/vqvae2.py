"""Training step and forward pass of the paper's two-level VQ-VAE-2, beside the way it is usually written.

    python benchmarks/vqvae2.py [--batch 8] [--side 256] [--precision fp32 bf16] [--threads 1 2] [--repeats 5]
                                [--device cpu] [--json out.json]

Both have 1.39 million parameters: 128 channels, two residual blocks of 32, 512 codes of 64 channels at a fourth and an
eighth of the side. They take turns on the same random pictures, in shuffled order, so that whatever else the machine
does, it does to both.

- *ours*: `VQVAE2Config()` in channels_last memory, `ReconstructionTask` (mean squared error, commitment), AdamW fused.
- *plain*: the same layers as best-known public code has them: contiguous memory, a quantizer that writes out all
  distances and a one-hot matrix, Adam. Its coarse codes reach the decoder by a transposed convolution of their own.
- *train*: forward, backward and update. *forward*: in eval mode, without gradients.
- *fp32*, *bf16*: the latter by autocast.
- *lookup share*: of the two quantizers alone, on the latents of such a step, forward and (*train*) backward.
- *seconds*: medians over the rounds, of the clock and (on a CPU) of the processor, which is what the clock would show
  times the threads on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Column, Table
from torch import Tensor, nn
from vqvae2_plain import Plain

from codec.core.atomic import atomic_write_text
from codec.core.device import resolve_device
from codec.core.errors import UserError
from codec.models import VQVAE2, ImageMedia, VQVAE2Config
from codec.train import ReconstructionTask

MODES = ("train", "forward")
WARM_UP = 2  # rounds before those that count: k-means, kernels, first touches of memory


@dataclass(frozen=True)
class Seconds:
    """What one piece of work took, of the clock and of the processor (all threads)."""

    clock: float
    processor: float


class Ours:
    """This toolkit."""

    def __init__(self, device: torch.device):
        self.model = VQVAE2(VQVAE2Config(media=ImageMedia(), chunk=32))
        self.model.to(device, memory_format=torch.channels_last)
        self.task = ReconstructionTask(self.model, {"mse": 1.0, "commitment": 0.25})
        self.optimizer = torch.optim.AdamW(self.task.parameters(), lr=3e-4, fused=True)
        self.quantizers = list(self.model.quantizers)

    def prepare(self, signal: Tensor) -> Tensor:
        return signal.contiguous(memory_format=torch.channels_last)

    def loss(self, signal: Tensor) -> Tensor:
        return self.task.total(self.task(signal)["losses"])

    def quantize(self, quantizer: nn.Module, latents: Tensor) -> Tensor:
        found = quantizer(latents)
        return found.latents.float().mean() + found.losses["commitment"]


Contestant = Ours | Plain


def work(contestant: Contestant, mode: str, precision: str, device: torch.device) -> Callable[[Tensor], None]:
    """One step of `mode` on a batch."""

    def train(signal: Tensor) -> None:
        contestant.model.train()
        with _autocast(precision, device):
            loss = contestant.loss(signal)
        loss.backward()
        contestant.optimizer.step()
        contestant.optimizer.zero_grad()

    @torch.no_grad()
    def forward(signal: Tensor) -> None:
        contestant.model.eval()
        with _autocast(precision, device):
            contestant.model(signal)

    return {"train": train, "forward": forward}[mode]


def quantizers_alone(
    contestant: Contestant, mode: str, precision: str, device: torch.device, signal: Tensor
) -> Callable[[], None]:
    """What the quantizers do in one step of `mode` on `signal`."""
    seen: list[Tensor] = []
    hooks = [q.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])) for q in contestant.quantizers]
    with torch.no_grad(), _autocast(precision, device):
        contestant.model(signal)
    for hook in hooks:
        hook.remove()

    def run() -> None:
        contestant.model.train(mode == "train")
        with torch.set_grad_enabled(mode == "train"), _autocast(precision, device):
            leaves = [latents.detach().requires_grad_() for latents in seen]
            pairs = zip(contestant.quantizers, leaves, strict=True)
            total = torch.stack([contestant.quantize(quantizer, leaf) for quantizer, leaf in pairs]).sum()
        if mode == "train":
            total.backward()

    return run


def race(
    contestants: dict[str, Contestant], mode: str, precision: str, device: torch.device, options: argparse.Namespace
) -> dict[str, dict[str, Seconds]]:
    """Median seconds of every contestant's step, and of its quantizers."""
    steps = {name: work(contestant, mode, precision, device) for name, contestant in contestants.items()}
    found: dict[str, dict[str, list[Seconds]]] = {name: {"step": [], "quantizers": []} for name in contestants}
    order, shuffler = list(contestants), random.Random(0)
    for number in range(WARM_UP + options.repeats):
        generator = torch.Generator().manual_seed(number)
        batch = torch.rand(options.batch, 3, options.side, options.side, generator=generator).to(device) * 2 - 1
        shuffler.shuffle(order)
        for name in order:
            signal = contestants[name].prepare(batch)
            found[name]["step"].append(timed(lambda name=name, signal=signal: steps[name](signal), device))
            alone = quantizers_alone(contestants[name], mode, precision, device, signal)
            found[name]["quantizers"].append(timed(alone, device))
    return {
        name: {part: _median(seconds[WARM_UP:]) for part, seconds in parts.items()} for name, parts in found.items()
    }


def timed(run: Callable[[], None], device: torch.device) -> Seconds:
    """How long `run` takes, until the device is done."""
    begin = _now(device)
    run()
    return Seconds(*(after - before for after, before in zip(_now(device), begin, strict=True)))


def _now(device: torch.device) -> tuple[float, float]:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter(), time.process_time()


def _median(seconds: list[Seconds]) -> Seconds:
    return Seconds(median(each.clock for each in seconds), median(each.processor for each in seconds))


def _autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def row(found: dict[str, dict[str, Seconds]]) -> dict[str, float]:
    """The figures of one race."""
    ours, plain = found["ours"], found["plain"]
    return {
        "ours_s": ours["step"].clock,
        "plain_s": plain["step"].clock,
        "plain/ours": plain["step"].clock / ours["step"].clock,
        "ours_cpu_s": ours["step"].processor,
        "plain_cpu_s": plain["step"].processor,
        "cpu_plain/ours": plain["step"].processor / ours["step"].processor,
        "ours_lookup_share": ours["quantizers"].processor / ours["step"].processor,
        "plain_lookup_share": plain["quantizers"].processor / plain["step"].processor,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=256, help="pixels, a multiple of 8")
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of the CPU; one race each")
    parser.add_argument("--repeats", type=int, default=5, help="rounds that count")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, default=None, help="where the figures go")
    options, console, rows = parser.parse_args(), Console(), []
    try:
        device = resolve_device(options.device)
    except UserError as error:
        print(f"vqvae2: {error}", file=sys.stderr)
        return 2
    torch.manual_seed(0)
    contestants: dict[str, Contestant] = {"ours": Ours(device), "plain": Plain(device)}
    parameters = {name: sum(p.numel() for p in each.model.parameters()) for name, each in contestants.items()}
    console.print(f"batch {options.batch}, {options.side}x{options.side}, {device}; parameters {parameters}")
    for threads in options.threads:
        torch.set_num_threads(threads)
        for precision in options.precision:
            for mode in MODES:
                figures = row(race(contestants, mode, precision, device, options))
                rows.append({"step": mode, "precision": precision, "threads": threads, **figures})
                console.print(f"{mode} {precision}, threads: {threads}, done", style="dim")
    headings = ["\n".join(name.replace("_", " ").replace("/", " /").split()) for name in rows[0]]
    table = Table(
        *(Column(heading, justify="right", no_wrap=True) for heading in headings),
        box=None,
        collapse_padding=True,
        pad_edge=False,
    )
    for each in rows:
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in each.values()))
    console.print(table)
    if options.json:
        report = {"device": str(device), "torch": torch.__version__, "parameters": parameters, "results": rows}
        atomic_write_text(options.json, json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
