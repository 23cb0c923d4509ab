"""Real-time factors of a codec of sound on one core, beside EnCodec 24 kHz and DAC 16 kHz; and one hour as a file.

    python benchmarks/audio_codec.py [--model MODEL] [--encodec PYTHON] [--dac PYTHON] [--seconds 30] [--peer-seconds 4]
                                     [--rounds 5] [--hour-minutes 60] [--json out.json]

Every codec is a process of its own with one thread, and they take turns, so that whatever else the machine does, it
does to all. A peer is left out unless the python of an environment that has it (`pip install encodec`, `pip install
descript-audio-codec`) is given. Random weights do for speed: without --model ours is the preset `speech16k_cpu` of
recipes/codec_audio, untrained.

- *encode*, *decode*: signal to codes and codes to signal in memory, all codebooks; medians over the rounds.
- *processor*: seconds of the processor, which are those of the clock on a core that does nothing else.
- *an hour*: `codec encode` and `codec decode` as commands, from file to file, their start included, on one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import yaml
from rich.console import Console
from rich.table import Column, Table

from codec.checkpoint import load_model, save_model
from codec.core.atomic import atomic_write_text
from codec.core.bundled import recipes_folder
from codec.core.errors import UserError
from codec.data.audio import AudioWriter
from codec.eval import machine_facts
from codec.models.build import build_model, parse_model

WAYS = ("encode", "decode")
WORKER = Path(__file__).with_name("audio_codec_worker.py")
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
RATE = 16000


@dataclass(frozen=True)
class Runner:
    """A codec that takes turns: its name, the seconds of sound of a round, and its process."""

    name: str
    seconds: float
    process: subprocess.Popen[str]

    @classmethod
    def start(cls, name: str, python: str, seconds: float, *model: str) -> Runner:
        command = [python, str(WORKER), name, str(seconds), *model]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        return cls(name, seconds, subprocess.Popen(command, env=ONE_THREAD, **pipes))

    def turn(self) -> dict[str, dict[str, float]]:
        """Seconds of one round, by way and clock."""
        assert self.process.stdin and self.process.stdout
        try:
            print(file=self.process.stdin, flush=True)
            return json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            raise UserError(f"{self.name} did not run; its last words are above") from None


def take_turns(runners: list[Runner], rounds: int) -> list[dict[str, Any]]:
    """Times real time of every codec, by the medians of its rounds; the first round warms up."""
    found: dict[str, list[dict[str, dict[str, float]]]] = {runner.name: [] for runner in runners}
    for _ in range(rounds + 1):
        for runner in runners:
            found[runner.name].append(runner.turn())
    return [
        {
            "codec": runner.name,
            **{
                f"{way}_{clock}": runner.seconds / median(turn[way][clock] for turn in found[runner.name][1:])
                for way in WAYS
                for clock in ("clock", "processor")
            },
        }
        for runner in runners
    ]


def untrained(folder: Path) -> str:
    """The preset's model with random weights, its codebooks spread over latents as training would start them."""
    preset = yaml.safe_load((recipes_folder() / "codec_audio" / "speech16k_cpu.yaml").read_text())
    torch.manual_seed(0)
    model = build_model(parse_model(preset["model"]))
    with torch.no_grad():
        model.train()(0.1 * torch.randn(4, 1, 64000))
    model.freeze_histograms()
    save_model(model.eval(), folder / "untrained")
    return str(folder / "untrained")


def write_noise(path: Path, minutes: float) -> None:
    """Noise that swells and falls like speech, a minute at a time."""
    loudness = 0.1 * np.sin(np.linspace(0, 180 * np.pi, 60 * RATE)) ** 2
    generator = np.random.default_rng(0)
    with AudioWriter(path, sample_rate=RATE, channels=1) as writer:
        for _ in range(max(1, round(minutes))):
            noise = loudness * generator.standard_normal(60 * RATE)
            writer.write(torch.from_numpy(noise).float()[None])


def command(*arguments: str) -> dict[str, float]:
    """Seconds of the clock and of the processor of one `codec` command."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "codec", *arguments], env=ONE_THREAD, stdout=subprocess.DEVNULL)
    clock, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise UserError(f"codec {arguments[0]} failed; its last words are above")
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"clock": clock, "processor": processor}


def whole_files(model: str, folder: Path, minutes: float) -> dict[str, Any]:
    """A long recording from file to file, both ways."""
    write_noise(source := folder / "long.wav", minutes)
    coded, back = folder / "long.vqc", folder / "back.wav"
    return {
        "minutes": minutes,
        "encode": command("encode", str(source), str(coded), "--model", model),
        "bytes": coded.stat().st_size,
        "decode": command("decode", str(coded), str(back), "--model", model),
    }


def speed_table(rows: list[dict[str, Any]]) -> Table:
    """Times real time, and how many times those of each peer ours are."""
    columns = [Column(heading, justify="right") for way in WAYS for heading in (way, "by the clock", "ours is")]
    table = Table(Column("codec"), *columns, title="times real time, one thread", title_justify="left")
    for row in rows:
        cells = [
            cell
            for way in WAYS
            for cell in (
                f"{row[f'{way}_processor']:.3g}",
                f"{row[f'{way}_clock']:.3g}",
                f"{rows[0][f'{way}_processor'] / row[f'{way}_processor']:.3g} x",
            )
        ]
        table.add_row(row["codec"], *cells)
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description="Speed of a codec of sound on one core, beside its peers.")
    parser.add_argument("--model", default=None, help="bundled name or folder; the untrained preset if left out")
    parser.add_argument("--encodec", default=None, metavar="PYTHON", help="of an environment that has encodec")
    parser.add_argument("--dac", default=None, metavar="PYTHON", help="of one that has descript-audio-codec")
    parser.add_argument("--seconds", type=float, default=30.0, help="of sound in a round of ours")
    parser.add_argument("--peer-seconds", type=float, default=4.0, help="in a round of a peer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hour-minutes", type=float, default=60.0, help="of the long recording; 0 leaves it out")
    parser.add_argument("--json", type=Path, default=None, help="where everything goes")
    options = parser.parse_args()
    console, runners = Console(), list[Runner]()
    with tempfile.TemporaryDirectory(prefix="audio-codec-") as scratch:
        try:
            model = options.model or untrained(Path(scratch))
            described = load_model(model, device="cpu")
            console.print(f"{described.name}: {sum(p.numel() for p in described.parameters()) / 1e6:.1f} M parameters")
            runners.append(Runner.start("ours", sys.executable, options.seconds, model))
            for peer in ("encodec", "dac"):
                if python := getattr(options, peer):
                    runners.append(Runner.start(peer, python, options.peer_seconds))
            rows = take_turns(runners, options.rounds)
            console.print(speed_table(rows))
            report = {"machine": machine_facts(), "speeds": rows}
            if options.hour_minutes:
                report["file"] = found = whole_files(model, Path(scratch), options.hour_minutes)
                for way in WAYS:
                    seconds = found[way]
                    console.print(
                        f"codec {way}, {options.hour_minutes:g} minutes: {seconds['clock']:.1f} s of the clock, "
                        f"{seconds['processor']:.1f} s of the processor"
                    )
        except UserError as error:
            print(f"audio_codec: {error}", file=sys.stderr)
            return 2
        finally:
            for runner in runners:
                runner.process.kill()
                runner.process.wait()
    if options.json:
        atomic_write_text(options.json, json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
