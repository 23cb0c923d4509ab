"""Every quantizer in the same small model, trained on the same batches, at equal nominal bits. On the CPU.

    python benchmarks/compare_quantizers.py --medium image --manifest pictures/manifest.jsonl --json image.json
    python benchmarks/compare_quantizers.py --medium speech --manifest speech/manifest.jsonl --json speech.json

Options: [--only ema fsq ...] [--steps N] [--seed 0] [--threads 1]. The models, the quantizers and the weights of their
losses stand in compare_quantizers.yaml. --json is written after every quantizer, and kept by the same command given
again, which trains those that are missing or failed.

- *alike*: encoders and decoders start from the same weights and take the same batches at the same step sizes. Weights
  are not averaged: of some kinds that would smooth the codebook, too, of others not.
- *scores*: in float32, limited to [-1, 1], mean over clips that were held out. Pictures: PSNR (dB) and MSE of tiles of
  256 px. Speech: SI-SDR (dB) and the losses mel and l1 of clips of 2 s, where shorter recordings are left out.
- *distortion*: the quantizer's own figure, in its own space, where latents may have been projected, bounded or scaled:
  it compares kinds of one space.
- *usage*, *perplexity*: of the codes of all held-out clips, mean over codebooks. *entropy*: bits per position that an
  ideal static coder would need of them, summed over codebooks, as are the nominal bits.
- *ms*: medians over rounds in which fresh quantizers take turns on the same batches; of processor time in the table, as
  busy neighbours disturb it less, and of the wall clock, too, in the report. *quantizer*: its forward in training, on
  latents of the untrained encoder, and the backward of mean(latents) + weighted losses. *step*: all that a step does.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path
from statistics import fmean, median
from typing import Any, NoReturn

import torch
import yaml
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table
from torch import Tensor

from codec.core.atomic import atomic_write_text
from codec.core.config import parse_config
from codec.core.errors import UserError
from codec.data.loader import TrainingBatches, ValidationBatches
from codec.eval.codes import CodeCounter
from codec.eval.machine import machine_facts
from codec.metrics import psnr, si_sdr
from codec.models import build_model
from codec.models.vqvae import VQVAE
from codec.train import ReconstructionConfig, ReconstructionTask, RunFolder, train
from codec.train.fabric import build_fabric
from codec.train.optim import ParameterGroup, build_optimizer

PRESETS = Path(__file__).with_suffix(".yaml")
SCORES = {"image": {"psnr": psnr}, "speech": {"si_sdr": si_sdr}}
WARM_UP, REPEATS = 3, 20  # rounds of timing that do not count (k-means, first touches of memory), and that do


class Comparison:
    """One medium: its data, and what all runs have in common. UserError: nothing to train on or to hold out."""

    def __init__(self, medium: str, manifest: Path, *, steps: int | None, seed: int, threads: int) -> None:
        self.scores = SCORES[medium]
        self.presets = yaml.safe_load(PRESETS.read_text())[medium]
        self.presets["data"] |= {"train": [manifest]}
        self.presets["loop"] |= {"seed": seed, "threads": threads} | ({} if steps is None else {"steps": steps})
        self.names = list(self.presets["quantizers"])
        self.steps = self.presets["loop"]["steps"]
        recipe = self._recipe(self.names[0])
        self.data = TrainingBatches(recipe.data, recipe.model.media, seed=seed)
        self.validation = ValidationBatches(recipe.data, recipe.model.media)
        if not self.validation.entries:
            raise UserError(f"{manifest} holds nothing to validate on: mark some of it as split validation")

    def build(self, name: str) -> tuple[ReconstructionConfig, ReconstructionTask]:
        """Recipe and task of a quantizer; encoder and decoder start the same whichever it is."""
        recipe, first = self._recipe(name), self._model(self._recipe(self.names[0]))
        model = self._model(recipe)
        model.encoder.load_state_dict(first.encoder.state_dict())
        model.decoder.load_state_dict(first.decoder.state_dict())
        used = {key: recipe.losses[key] for key in (*self.presets["losses"], *model.quantizer.loss_names)}
        return recipe.model_copy(update={"losses": used}), ReconstructionTask(model, used)

    def _model(self, recipe: ReconstructionConfig) -> VQVAE:
        torch.manual_seed(recipe.loop.seed)
        return build_model(recipe.model)

    def _recipe(self, name: str) -> ReconstructionConfig:
        """With the weights of all losses that any quantizer has."""
        quantizer = dict(self.presets["quantizers"][name])
        losses = self.presets["losses"] | self.presets["weights"] | quantizer.pop("weights", {})
        model = {**self.presets["model"], "quantizer": annealed(quantizer, self.steps)}
        tree = {"data": self.presets["data"], "model": model, "losses": losses, "loop": self.presets["loop"]}
        return parse_config(ReconstructionConfig, tree)


def annealed(tree: dict[str, Any], steps: int) -> dict[str, Any]:
    """`tree` with every `share_annealed` made the `anneal_steps` of a run of `steps`."""
    tree = {key: annealed(value, steps) if isinstance(value, dict) else value for key, value in tree.items()}
    share = tree.pop("share_annealed", None)
    return tree if share is None else tree | {"anneal_steps": max(1, round(share * steps))}


def compare(comparison: Comparison, name: str) -> dict[str, Any]:
    """Train with the quantizer of that name and score it. KeyboardInterrupt: the run was asked to stop."""
    recipe, task = comparison.build(name)
    fabric = build_fabric(recipe.loop)
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run, data = RunFolder(Path(folder) / name), comparison.data
        progress = train(task, fabric=fabric, data=data, validation=[], config=recipe.loop, run=run, recipe=recipe)
    if progress.step < comparison.steps:
        raise KeyboardInterrupt
    described = {"quantizer": recipe.model.quantizer.model_dump(), "losses": recipe.losses}
    return described | {"train_s": time.perf_counter() - begin} | evaluate(task, comparison)


@torch.no_grad()
def evaluate(task: ReconstructionTask, comparison: Comparison) -> dict[str, Any]:
    """Mean scores, losses and figures of codes over all held-out clips."""
    model = task.eval().model
    counter, rows = CodeCounter(model.levels), []
    for batch in comparison.validation:
        signal = batch.signal if batch.mask is None else batch.signal[batch.mask.flatten(1).all(1)]
        for clip in tiles(signal, comparison.presets["tile"]).split(1):
            result = model(clip)
            decoded, level = result.signal.clamp(-1, 1), result.levels[0]
            row = {key: score(clip[0], decoded[0]).finite for key, score in comparison.scores.items()}
            row |= {key: float(loss(decoded, clip, None)) for key, loss in task.reconstruction_losses.items()}
            rows.append(row | {"distortion": float(level.stats["distortion"])})
            counter.add((level.codes,))
    books = counter.table()
    return {
        "clips": len(rows),
        "scores": {key: fmean(row[key] for row in rows if row[key] is not None) for key in rows[0]},
        **{key: fmean(book[key] for book in books) for key in ("usage", "perplexity")},
        "nominal_bits": float(sum(torch.tensor(book["codebook_size"]).log2() for book in books)),
        "entropy_bits": sum(book["entropy_bits"] for book in books),
        "codebooks": books,
    }


def tiles(signal: Tensor, size: int) -> Tensor:
    """`signal` `[b, c, *space]` cut along every axis of space into pieces, `[b * pieces, c, size, ...]`."""
    for axis in range(2, signal.dim()):
        signal = torch.cat(signal.split(size, axis))
    return signal


class Contestant:
    """A fresh model whose steps are timed."""

    def __init__(self, comparison: Comparison, name: str) -> None:
        self.recipe, self.task = comparison.build(name)
        self.fabric = build_fabric(self.recipe.loop)
        self.parameters = list(self.task.train().parameters())
        rules = ParameterGroup(self.parameters, self.recipe.loop.optimizer)
        self.optimizer = build_optimizer([rules], device=self.fabric.device)

    def quantizer(self, latents: Tensor) -> None:
        """Forward and backward of the quantizer alone."""
        with self.fabric.autocast():
            found = self.task.model.quantizer(latents.detach().requires_grad_())
        losses = [self.recipe.losses[key] * loss for key, loss in found.losses.items()]
        (found.latents.float().mean() + sum(losses)).backward()

    def step(self, signal: Tensor) -> None:
        """A whole step of training."""
        self.optimizer.zero_grad(set_to_none=True)
        with self.fabric.autocast():
            outcome = self.task(signal)
        self.task.total(outcome["losses"]).backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()


@torch.no_grad()
def inputs(comparison: Comparison) -> dict[str, list[Tensor]]:
    """What each part of a step is timed on, round by round, in the layout of training."""
    batches = [comparison.data.batch(number).signal for number in range(WARM_UP + REPEATS)]
    signals = [signal.to(memory_format=torch.channels_last) if signal.dim() == 4 else signal for signal in batches]
    untrained = Contestant(comparison, comparison.names[0])
    with untrained.fabric.autocast():
        return {"quantizer": [untrained.task.model.encoder(signal) for signal in signals], "step": signals}


def race(comparison: Comparison, names: list[str]) -> dict[str, dict[str, float]]:
    """Median milliseconds of every quantizer's steps, in rounds, in shuffled order."""
    medians: dict[str, dict[str, float]] = {name: {} for name in names}
    for part, tensors in inputs(comparison).items():
        contestants, shuffler = [(name, Contestant(comparison, name)) for name in names], random.Random(0)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
        for tensor in track(tensors, f"timing: {part}", transient=True):
            shuffler.shuffle(contestants)
            for name, contestant in contestants:
                wall, processor = time.perf_counter(), time.process_time()
                getattr(contestant, part)(tensor)
                times[name].append((time.perf_counter() - wall, time.process_time() - processor))
        for name, found in times.items():
            wall, processor = (1000 * median(values) for values in zip(*found[WARM_UP:], strict=True))
            medians[name] |= {f"{part}_wall_ms": wall, f"{part}_ms": processor}
    return medians


def results_table(report: dict[str, Any]) -> Table:
    """What was found so far, for the terminal."""
    done = {name: row for name, row in report["rows"].items() if "failed" not in row}
    scores = list(next(iter(done.values()), {}).get("scores", ()))
    headings = [*scores, "usage\n%", "perplex-\nity", "entropy\nbits", "quan-\ntizer\nms", "step\nms"]
    bits = " or ".join(sorted({f"{row['nominal_bits']:.4g}" for row in done.values()}))
    title = f"{report['medium']}, {bits} bits per position, {report['steps']} steps, seed {report['seed']}"
    columns = [Column(name.replace("distortion", "distor-\ntion"), justify="right") for name in headings]
    first = Column("quantizer", no_wrap=True)
    table = Table(first, *columns, title=title, title_justify="left", box=SIMPLE, show_edge=False, padding=0)
    for name, row in done.items():
        times = report["times"][name]
        cells = [*(format(row["scores"][score], ".4g") for score in scores), f"{100 * row['usage']:.0f}"]
        cells += [f"{row['perplexity']:.0f}", f"{row['entropy_bits']:.2f}"]
        table.add_row(name, *cells, *(f"{times[part]:.1f}" for part in ("quantizer_ms", "step_ms")))
    for name in report["rows"].keys() - done.keys():
        table.add_row(name, "failed")
    return table


def load_report(path: Path | None, header: dict[str, Any]) -> dict[str, Any]:
    """What an earlier run of this comparison left at `path`, less what failed. UserError: it is of another one."""
    if path is None or not path.exists():
        return {**header, "machine": machine_facts(), "times": {}, "rows": {}}
    try:
        report = json.loads(path.read_text())
        other = [f"{key} {report[key]}, not {value}" for key, value in header.items() if report[key] != value]
        report["rows"] = {name: row for name, row in report["rows"].items() if "failed" not in row}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path} is no report of this benchmark: name another file") from None
    if other:
        raise UserError(f"{path} is of {', '.join(other)}: name another file")
    return report


def run(options: argparse.Namespace) -> None:
    """Time and train what the report lacks, and show all that it holds."""
    shared = {"steps": options.steps, "seed": options.seed, "threads": options.threads}
    comparison = Comparison(options.medium, options.manifest, **shared)
    if unknown := [name for name in options.only or () if name not in comparison.names]:
        raise UserError(f"no quantizer {unknown[0]!r} in this comparison: it has {', '.join(comparison.names)}")
    wanted = [name for name in comparison.names if not options.only or name in options.only]
    torch.set_num_threads(options.threads)
    header = {"medium": options.medium, "manifest": str(options.manifest), **shared, "steps": comparison.steps}
    report = load_report(options.json, header)

    def save() -> None:
        if options.json:
            atomic_write_text(options.json, json.dumps(report, indent=1) + "\n")

    save()
    if untimed := [name for name in wanted if name not in report["times"]]:
        report["times"] |= race(comparison, untimed)
        save()
    for name in [name for name in wanted if name not in report["rows"]]:
        try:
            report["rows"][name] = compare(comparison, name)
        except Exception as error:  # what one quantizer meets must not cost the others theirs
            report["rows"][name] = {"failed": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
            print(f"compare_quantizers: {name}: {error}", file=sys.stderr)
        save()
    Console().print(results_table(report))


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, as everywhere in the toolkit."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def main() -> int:
    parser = Parser(description="Every quantizer in the same small model, at equal nominal bits.")
    parser.add_argument("--medium", choices=SCORES, required=True)
    parser.add_argument("--manifest", type=Path, required=True, help="what to train on and to hold out from")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these quantizers")
    parser.add_argument("--steps", type=int, help="of training, for each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where the report goes; what it holds already is kept")
    try:
        run(parser.parse_args())
    except UserError as error:
        print(f"compare_quantizers: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("compare_quantizers: stopped; the same command goes on with those that are missing", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
