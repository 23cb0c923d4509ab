"""Two processes train as one: each reaches every collective, whatever its data holds."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from codec.checkpoint.store import read_tensors
from codec.core.config import Config
from codec.core.errors import UserError
from codec.models import build_model
from codec.models.tiny import tiny_config
from codec.quantize import parse_quantizer
from codec.train import LoopConfig, ReconstructionTask, RunFolder, train
from codec.train.fabric import build_fabric
from codec.train.run import read_metrics
from tests.train.test_loop import SHAPES, Batch, Noise

DROPOUT = parse_quantizer(
    {
        "kind": "residual",
        "num_codebooks": 3,
        "dropout": 0.9,
        "codebook": {"kind": "ema", "codebook_size": 16, "codebook_dim": 4, "restart_below": 0.5},
    }
)


class RankNoise(Noise):
    """Other batches on every rank; the second one's may hold an infinity, for which l1 still has a finite gradient."""

    def __init__(self, rank: int, *, bad_step: int | None = None):
        super().__init__(SHAPES["audio"])
        self.rank, self.infinite_step = rank, bad_step

    def batch(self, step: int) -> Batch:
        batch = super().batch(2 * step + self.rank)
        if self.rank == 1 and step == self.infinite_step:
            batch.signal[0, 0, 0] = math.inf
        return batch


def _fit(rank: int, folder: Path, *, steps: int, resume: bool = False, bad_step: int | None = None) -> None:
    config = LoopConfig(
        steps=steps, log_every=1, validate_every=2, save_every=2, device="cpu", precision="fp32", threads=1
    )
    config = config.model_copy(update={"optimizer": config.optimizer.model_copy(update={"warmup_steps": 0})})
    fabric = build_fabric(config)
    task = ReconstructionTask(
        build_model(tiny_config("audio").model_copy(update={"quantizer": DROPOUT})), {"l1": 1.0, "commitment": 0.25}
    )
    train(
        task,
        fabric=fabric,
        data=RankNoise(rank, bad_step=bad_step),
        validation=[Noise(SHAPES["audio"]).batch(1000)] if rank == 0 else [],
        config=config,
        run=RunFolder(folder, resume=resume),
        recipe=Config(),
    )


def _work(rank: int, port: int, folder: str) -> None:
    peers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "GROUP_RANK": 0}
    peers |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test", "GROUP_WORLD_SIZE": 1}
    os.environ.update({name: str(value) for name, value in peers.items()})
    runs = Path(folder)
    _fit(rank, runs / "whole", steps=6)
    _fit(rank, runs / "parts", steps=4)
    _fit(rank, runs / "parts", steps=6, resume=True)
    try:
        _fit(rank, runs / "bad", steps=6, bad_step=3)
    except UserError as error:
        (runs / f"said{rank}").write_text(str(error))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    start: Callable[..., object] = torch.multiprocessing.spawn  # pyright: ignore[reportPrivateImportUsage]
    start(_work, args=(port, str(folder)), nprocs=2)
    return folder


def test_a_rank_without_validation_data_keeps_step_with_the_others(runs: Path) -> None:
    metrics = read_metrics(RunFolder(runs / "whole", resume=True))
    assert [line["step"] for line in metrics if line["split"] == "validation"] == [2, 4, 6]


def test_resuming_two_ranks_continues_bit_for_bit(runs: Path) -> None:
    whole, parts = (RunFolder(runs / name, resume=True) for name in ("whole", "parts"))
    assert read_metrics(whole) == read_metrics(parts)
    mine, theirs = read_tensors(whole.last)[0], read_tensors(parts.last)[0]
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


def test_what_is_not_finite_on_one_rank_stops_all_and_names_its_files_alone(runs: Path) -> None:
    first, second = ((runs / f"said{rank}").read_text() for rank in range(2))
    assert first == second
    assert "the data is NaN or Inf" in first and "file-7-0.wav" in first and "file-6-" not in first
