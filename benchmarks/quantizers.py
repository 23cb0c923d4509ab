"""Time and memory of our quantizers beside a rival library and a floor, taking turns in one run.

    pip install vector-quantize-pytorch==1.32.0    # the rival; without it the run goes on with ours and the floor
    python benchmarks/quantizers.py [--only 8192x64x512] [--threads 1 2] [--repeats 5] [--device cpu] [--json out.json]

At every size, ours (`kind: ema`, alone or in a residual stack), the rival (`VectorQuantize`, `ResidualVQ`) and the
floor (the least that an exact quantizer has to do, in plain torch) take one step each per round, in shuffled order, on
the same Gaussian latents `[8, N / 8, D]`, new ones in every round: whatever else the machine does, it does to all.

- *train*: a forward in training mode from a fresh leaf that requires a gradient (decay 0.99, straight through,
  commitment loss), and the backward of `latents.mean() + commitment` to it. Dead codes are treated as each library
  does by default: ours restarts them, the rival does not. K-means belongs to the warm-up. The floor: the search below,
  `F.embedding`, `index_add_` for the counts and sums of the moving averages, entries as their quotients.
- *encode*: latents to codes. Ours: `encode`. The rival: its forward in eval mode without gradients, since it has
  nothing that gives codes alone. The floor: `addmm` of 1024 rows with the whole codebook and `argmin`, chunk by chunk.
- *layout*: the rival and the floor see `[b, n, d]`; ours the same memory as `[b, d, n]`, as channels_last gives it.
- *ms*: median over the rounds, and ratios of these medians.
- *MiB*: how far memory rises in one step at its highest above what it was just before, in a fresh process that has
  made such steps already. On a CPU that is resident memory with 1 thread (Linux only, else null), where malloc gives
  back every block of 64 KiB or more once freed: what it would keep varies. On a GPU it is what torch handed out.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table
from torch import Tensor

from codec.core.atomic import atomic_write_text
from codec.core.device import resolve_device
from codec.core.errors import UserError
from codec.quantize import build_quantizer, parse_quantizer

RIVAL, RIVAL_VERSION = "vector-quantize-pytorch", "1.32.0"
MODES = ("train", "encode")
DECAY = 0.99
WARM_UP = 2  # rounds before those that count: k-means and first touches of memory


@dataclass(frozen=True)
class Size:
    """What is quantized: `rows` N vectors of `dim` D by `stages` codebooks of `codebook_size` K."""

    rows: int
    dim: int
    codebook_size: int
    stages: int = 1


SIZES = {
    "8192x64x512": Size(8192, 64, 512),
    "16384x256x1024": Size(16384, 256, 1024),
    "32768x64x8192": Size(32768, 64, 8192),
    "4800x128x1024x8": Size(4800, 128, 1024, stages=8),
}


class Ours:
    """This toolkit."""

    def __init__(self, size: Size, device: torch.device) -> None:
        tree: dict[str, Any] = {"kind": "ema", "codebook_size": size.codebook_size, "decay": DECAY}
        if size.stages > 1:
            tree = {"kind": "residual", "num_codebooks": size.stages, "codebook": tree}
        self.quantizer = build_quantizer(parse_quantizer(tree), size.dim).to(device)

    def train(self, latents: Tensor) -> None:
        found = self.quantizer.train()(latents.movedim(-1, 1).detach().requires_grad_())
        (found.latents.mean() + sum(found.losses.values())).backward()

    def encode(self, latents: Tensor) -> None:
        self.quantizer.eval().encode(latents.movedim(-1, 1))


class Rival:
    """vector-quantize-pytorch."""

    def __init__(self, size: Size, device: torch.device) -> None:
        from vector_quantize_pytorch import ResidualVQ, VectorQuantize  # pyright: ignore[reportMissingImports]

        kind = VectorQuantize if size.stages == 1 else partial(ResidualVQ, num_quantizers=size.stages)
        self.quantizer = kind(
            dim=size.dim, codebook_size=size.codebook_size, decay=DECAY, kmeans_init=False, rotation_trick=False
        ).to(device)

    def train(self, latents: Tensor) -> None:
        quantized, _, commitment = self.quantizer.train()(latents.detach().requires_grad_())
        (quantized.mean() + commitment.mean()).backward()

    @torch.no_grad()
    def encode(self, latents: Tensor) -> None:
        self.quantizer.eval()(latents)


class Floor:
    """The least work in plain torch: nothing is checked, restarted or reported."""

    def __init__(self, size: Size, device: torch.device) -> None:
        self.codebooks = torch.randn(size.stages, size.codebook_size, size.dim, device=device)
        self.sums = self.codebooks.clone()
        self.counts = torch.ones(size.stages, size.codebook_size, 1, device=device)

    def train(self, latents: Tensor) -> None:
        leaf = latents.flatten(0, 1).detach().requires_grad_()
        quantized, errors = 0, []
        for codebook, sums, counts in zip(self.codebooks, self.sums, self.counts, strict=True):
            rows = leaf.detach() - quantized
            codes = _search(rows, codebook)
            quantized = F.embedding(codes, codebook) + quantized
            errors.append(F.mse_loss(leaf, quantized))
            counts.mul_(DECAY).index_add_(0, codes, counts.new_ones(len(codes), 1), alpha=1 - DECAY)
            sums.mul_(DECAY).index_add_(0, codes, rows, alpha=1 - DECAY)
            torch.div(sums, counts, out=codebook)
        straight_through = leaf + (quantized - leaf).detach()
        (straight_through.mean() + torch.stack(errors).mean()).backward()

    @torch.no_grad()
    def encode(self, latents: Tensor) -> None:
        rows = latents.flatten(0, 1)
        codes = [_search(rows, self.codebooks[0])]
        for before, codebook in zip(self.codebooks[:-1], self.codebooks[1:], strict=True):
            rows = rows - F.embedding(codes[-1], before)
            codes.append(_search(rows, codebook))


Contestant = Ours | Rival | Floor
CONTESTANTS: dict[str, type[Contestant]] = {"ours": Ours, "rival": Rival, "floor": Floor}


@torch.no_grad()
def _search(rows: Tensor, codebook: Tensor) -> Tensor:
    bias = codebook.square().sum(1).mul_(0.5)
    return torch.cat([torch.addmm(bias, chunk, codebook.t(), alpha=-1).argmin(1) for chunk in rows.split(1024)])


def draw(size: Size, seed: int, device: torch.device) -> Tensor:
    """Gaussian latents `[8, N / 8, D]`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(8, size.rows // 8, size.dim, generator=generator).to(device)


def race(
    contestants: dict[str, Contestant], size: Size, mode: str, *, repeats: int, device: torch.device
) -> dict[str, list[float]]:
    """Milliseconds of every contestant's step in each of `repeats` rounds."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    order, shuffler = list(contestants), random.Random(0)
    for number in range(WARM_UP + repeats):
        latents = draw(size, number, device)
        shuffler.shuffle(order)
        for name in order:
            begin = _now(device)
            getattr(contestants[name], mode)(latents)
            times[name].append(1000 * (_now(device) - begin))
    return {name: values[WARM_UP:] for name, values in times.items()}


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def peak_memory(name: str, size: Size, mode: str, device: torch.device) -> float | None:
    """MiB that one step takes at its highest, in a process that does nothing else; None if it cannot be told."""
    torch.set_num_threads(1)
    contestant = CONTESTANTS[name](size, device)
    step = getattr(contestant, mode)
    contestant.train(draw(size, 0, device))
    step(draw(size, 1, device))
    latents = draw(size, 2, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step(latents)
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    try:
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM, the highest VmRSS so far, starts again
    except OSError:
        return None
    before = _resident_mib("VmRSS")
    step(latents)
    return _resident_mib("VmHWM") - before


def _resident_mib(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def in_child(name: str, size: Size, mode: str, device: torch.device) -> float | None:
    """`peak_memory` in a fresh process."""
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"  # read by glibc when a process starts
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as child:
        return child.submit(peak_memory, name, size, mode, device).result()


def rival_is_there() -> bool:
    """Whether the rival can be imported in the version that is asked for; if not, a line says what to do."""
    try:
        import vector_quantize_pytorch  # noqa: F401  # pyright: ignore[reportMissingImports]

        found = metadata.version(RIVAL)
    except ImportError as error:
        found = str(error)
    if found != RIVAL_VERSION:
        print(f"quantizers: no rival ({found}): pip install {RIVAL}=={RIVAL_VERSION}", file=sys.stderr)
    return found == RIVAL_VERSION


def summary(times: dict[str, list[float]], memory: dict[str, float | None]) -> dict[str, Any]:
    """Medians, their ratios, memory, and every single time."""
    medians = {name: median(values) for name, values in times.items()}
    ratios = {"ours/floor": medians["ours"] / medians["floor"]}
    if "rival" in medians:
        ratios["rival/ours"] = medians["rival"] / medians["ours"]
    return {"median_ms": medians, "ratios": ratios, "peak_mib": memory, "times_ms": times}


def table(title: str, rows: list[dict[str, Any]]) -> Table:
    """What was found at one size, for the terminal."""
    groups = (("median_ms", "ms", ".1f"), ("ratios", "", ".2f"), ("peak_mib", "MiB", ".0f"))
    headings = [f"{name} {unit}".replace("/", " /") for group, unit, _ in groups for name in rows[0][group]]
    columns = [Column("\n".join(heading.split()), justify="right") for heading in headings]
    shown = Table("step", "threads", *columns, title=title, title_justify="left", box=SIMPLE, collapse_padding=True)
    for row in rows:
        values = [(value, form) for group, _, form in groups for value in row[group].values()]
        cells = ["-" if value is None else format(value, form) for value, form in values]
        shown.add_row(row["step"], str(row["threads"]), *cells)
    return shown


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, as everywhere in the toolkit."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text}; wanted 1 or more")
    return int(text)


def main() -> int:
    parser = Parser(description="Time and memory of our quantizers beside a rival library and a floor.")
    parser.add_argument("--only", choices=SIZES, help="one size, N x D x K (x codebooks)")
    parser.add_argument("--threads", type=_positive, nargs="+", default=[1, 2], help="of the CPU; one race each")
    parser.add_argument("--repeats", type=_positive, default=5, help="rounds that count")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, default=None, help="where the whole report goes, after every size")
    console = Console()
    try:
        options = parser.parse_args()
        device = resolve_device(options.device)
        report = {"device": str(device), "torch": torch.__version__, "results": {}}
        names = [name for name in CONTESTANTS if name != "rival" or rival_is_there()]
        for label in [options.only] if options.only else SIZES:
            size, found = SIZES[label], []
            with console.status(f"{label}: memory") as status:
                memory = {mode: {name: in_child(name, size, mode, device) for name in names} for mode in MODES}
                contestants = {name: CONTESTANTS[name](size, device) for name in names}
                for threads in options.threads:
                    torch.set_num_threads(threads)
                    for mode in MODES:
                        status.update(f"{label}: {mode}, threads: {threads}")
                        times = race(contestants, size, mode, repeats=options.repeats, device=device)
                        found.append({"step": mode, "threads": threads, **summary(times, memory[mode])})
            console.print(table(label, found))
            report["results"][label] = found
            if options.json:
                atomic_write_text(options.json, json.dumps(report, indent=1) + "\n")
    except UserError as error:
        print(f"quantizers: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
