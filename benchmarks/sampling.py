"""Codes per second of sampling with cached state, beside one full pass per code; does time grow as the codes do?

    python benchmarks/sampling.py [--sides 16 32 64] [--width 128] [--batch 1] [--threads 1] [--json out.json]

Priors of a two-level picture (one codebook of 512 codes each), with random weights, since time does not depend on
them: *top*, a gated PixelCNN with causal self-attention; *bottom*, one without, given a top map of half the side; and
a *transformer*. Each samples a square map of every side, after a small one
to warm up.

- *cached*: `codec.priors.sample`, the whole map, measured.
- *uncached*: one full pass over the map for every code, which is what sampling without state does. A few passes are
  measured, and the median is multiplied by the number of codes: extrapolated, marked ~.
- *us/code*: cached time per code and picture of the batch; linear time is a column that stays flat.
- *seconds*: of the clock; on a CPU with one thread, of the processor, which a busy machine lengthens less.
- *picture*: a 32x32 top and a 64x64 bottom map, drawn one after the other.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table

from codec.core.atomic import atomic_write_text
from codec.core.device import resolve_device
from codec.core.errors import UserError
from codec.core.grid import Grid
from codec.priors.base import Condition, Geometry, NeuralPrior
from codec.priors.build import build_neural_prior
from codec.priors.hierarchy import sample_levels
from codec.priors.pixelcnn import PixelCNNConfig
from codec.priors.sampling import sample
from codec.priors.transformer import TransformerConfig

GRIDS = [Grid(num_codebooks=1, codebook_size=512, downsample_factor=factor) for factor in (8, 4)]
PASSES = 3  # full passes that are timed, after one that is not


@dataclass(frozen=True)
class Row:
    """One prior at one size; seconds are of the whole batch."""

    prior: str
    side: int
    codes: int
    cached_s: float
    uncached_s: float


def priors(width: int) -> dict[str, NeuralPrior]:
    """What is compared, by name."""
    top, bottom = (Geometry.of(GRIDS, level, ndim=2) for level in range(2))
    heads = 4 if width % 8 == 0 else 1
    return {
        "top": build_neural_prior(PixelCNNConfig(width=width, blocks=4, layers=3, attention_heads=heads), top),
        "bottom": build_neural_prior(PixelCNNConfig(width=width, blocks=4, layers=3), bottom),
        "transformer": build_neural_prior(TransformerConfig(width=width, layers=6, heads=heads), top),
    }


def measure(name: str, prior: NeuralPrior, side: int, *, batch: int) -> Row:
    """Cached sampling of one map, and the extrapolated time of the other way."""
    size, device = (side, side), prior.device
    generator = torch.Generator(device).manual_seed(0)
    condition = _zeros_above(prior, (4, 4), batch)
    sample(prior, (4, 4), condition=condition, batch=batch, generator=generator)
    condition = _zeros_above(prior, size, batch)
    start = _now(device)
    codes = sample(prior, size, condition=condition, batch=batch, generator=generator)
    cached = _now(device) - start
    passes = []
    with torch.inference_mode():
        for _ in range(PASSES + 1):
            start = _now(device)
            prior(codes, condition)
            passes.append(_now(device) - start)
    number = codes[0].numel()
    return Row(name, side, number, cached, median(passes[1:]) * number)


def _zeros_above(prior: NeuralPrior, size: tuple[int, ...], batch: int) -> Condition:
    sizes = prior.geometry.coarser_sizes(size)
    return Condition(coarser=tuple(torch.zeros(batch, 1, *s, dtype=torch.int64, device=prior.device) for s in sizes))


def measure_picture(levels: list[NeuralPrior], *, batch: int) -> float:
    """Seconds for a 256x256 picture's 32x32 and 64x64 codes."""
    device = levels[0].device
    start = _now(device)
    sample_levels(levels, (256, 256), batch=batch, generator=torch.Generator(device).manual_seed(0))
    return _now(device) - start


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif torch.get_num_threads() == 1:
        return time.process_time()
    return time.perf_counter()


def table(rows: list[Row], *, batch: int) -> Table:
    """All rows for people."""
    names = ("codes", "cached s", "codes/s", "us/code", "uncached s", "times faster")
    shown = Table("prior", Column("side", justify="right"), *(Column(n, justify="right") for n in names), box=SIMPLE)
    for row in rows:
        per_code = row.cached_s / (row.codes * batch)
        shown.add_row(
            row.prior,
            str(row.side),
            str(row.codes),
            f"{row.cached_s:.2f}",
            f"{1 / per_code:.0f}",
            f"{per_code * 1e6:.0f}",
            f"~{row.uncached_s:.1f}",
            f"~{row.uncached_s / row.cached_s:.0f}",
        )
    return shown


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device, batch, console = resolve_device(arguments.device), arguments.batch, Console()
    models = {name: prior.to(device).eval() for name, prior in priors(arguments.width).items()}
    rows = [measure(name, prior, side, batch=batch) for name, prior in models.items() for side in arguments.sides]
    picture_s = measure_picture([models["top"], models["bottom"]], batch=batch)
    number = 32**2 + 64**2
    console.print(f"{device}, {torch.get_num_threads()} threads, width {arguments.width}, batch {batch}")
    console.print(table(rows, batch=batch))
    console.print(f"picture 32x32 + 64x64: {picture_s:.2f} s, {number * batch / picture_s:.0f} codes/s")
    if arguments.json:
        report = {"device": str(device), "batch": batch, "width": arguments.width, "picture_s": picture_s}
        atomic_write_text(
            arguments.json, json.dumps({**report, "rows": [asdict(row) for row in rows]}, indent=1) + "\n"
        )


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
