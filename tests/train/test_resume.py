"""A run that was killed and resumed is the run that was not: the same losses and weights, bit for bit on the CPU."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from codec.checkpoint.store import read_tensors
from codec.train.run import RunFolder, read_metrics
from tests.train.corpus import TINY, write_corpus

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    tree = {**TINY, "data": {**TINY["data"], "train": str(write_corpus(folder / "corpus"))}}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tree))
    return folder / "tiny.yaml"


@pytest.fixture(scope="module")
def uninterrupted(recipe) -> Path:
    run = recipe.parent / "whole"
    start(recipe, run).wait(120)
    return run


def start(recipe: Path, run: Path, *extra: str, name: str = "vqvae_speech") -> subprocess.Popen[bytes]:
    """The recipe `name` in a process of its own, by the config `recipe`."""
    command = [
        sys.executable,
        "-m",
        "codec",
        "train",
        name,
        "--config",
        str(recipe),
        "--run",
        str(run),
        *extra,
    ]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wait_for_step(run: Path, step: int, process: subprocess.Popen[bytes]) -> None:
    """Until the run has logged that step."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        lines = read_metrics_leniently(run)
        if lines and lines[-1]["step"] >= step:
            return
        time.sleep(0.02)
    raise AssertionError(f"the run never reached step {step}: {process.stderr.read() if process.stderr else ''}")


def read_metrics_leniently(run: Path) -> list[dict]:
    """The last line may be half written while the run goes on."""
    path = run / "logs" / "metrics.jsonl"
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    return [json.loads(line) for line in whole.splitlines()]


def assert_same_run(run: Path, other: Path) -> None:
    """Every figure and every tensor of the states, bit for bit."""
    assert read_metrics(RunFolder(run, resume=True)) == read_metrics(RunFolder(other, resume=True))
    mine, my_header = read_tensors(run / "checkpoints" / "last.safetensors")
    theirs, their_header = read_tensors(other / "checkpoints" / "last.safetensors")
    assert my_header == their_header
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


def test_resuming_after_kill_9_continues_bit_for_bit(recipe, uninterrupted):
    run = recipe.parent / "killed"
    process = start(recipe, run)
    wait_for_step(run, 5, process)
    process.kill()
    process.wait()
    assert (run / "checkpoints" / "last.safetensors").exists()
    assert start(recipe, run, "--resume").wait(120) == 0
    assert_same_run(run, uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_stop_saves_and_resumes_bit_for_bit(recipe, uninterrupted, number):
    run = recipe.parent / number.name
    process = start(recipe, run, "loop.save_every=1000")
    wait_for_step(run, 2, process)
    os.kill(process.pid, number)
    assert process.wait(60) == 0
    assert (run / "checkpoints" / "last.safetensors").exists()
    assert start(recipe, run, "--resume", "loop.save_every=3").wait(120) == 0
    assert_same_run(run, uninterrupted)


def test_starting_over_a_run_and_resuming_nothing_are_refused(recipe, uninterrupted):
    again = start(recipe, uninterrupted)
    _, error = again.communicate(timeout=60)
    assert again.returncode == 2 and b"--resume" in error and b"Traceback" not in error
    nothing = start(recipe, recipe.parent / "none", "--resume")
    _, error = nothing.communicate(timeout=60)
    assert nothing.returncode == 2 and b"nothing to resume" in error and b"Traceback" not in error
