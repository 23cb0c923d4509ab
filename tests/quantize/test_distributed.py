"""Two ranks are one rank with the joined batch, whatever each of them holds."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as torch_dist
import torch.multiprocessing as multiprocessing
from torch import Tensor

from codec.core.errors import UserError
from codec.quantize import NonFiniteError, Quantizer
from tests.quantize.kinds import DETERMINISTIC, build, latents

NAMES = DETERMINISTIC
STEPS = 4
PADDED_START = ("ema", "gradient", "multihead", "residual-shared")


def _real(step: int, rank: int) -> Tensor:
    """Which positions of a rank's batch are real: rank 1 has fewer, in step 1 none, in step 2 nobody has any."""
    lengths = torch.tensor([[20, 9, 0], [3, 0, 20]])[rank]
    if step == 2 or (step == 1 and rank == 1):
        lengths = torch.zeros(3)
    return torch.arange(20) < lengths[:, None]


def _scenario_equal(name: str, rank: int) -> dict[str, Tensor]:
    quantizer = build(name, seed=rank)  # parameters are DDP's to agree on, a codebook or its table is ours
    for parameter in quantizer.parameters():
        torch_dist.broadcast(parameter.data, 0)
    for step in range(STEPS):
        torch.manual_seed(step + 1000 * rank)  # ranks need not agree on their random state
        result = quantizer(latents(10 * step + rank), mask=_real(step, rank))
    return quantizer.state_dict() | {f"stats {key}": value for key, value in result.stats.items()}


def _scenario_padded_start(name: str, rank: int) -> dict[str, Tensor]:
    """Rank 1 has nothing real while the codebook is filled; then entries die, and restart, on both."""
    quantizer, restarts = build(name, seed=0), 0.0
    for step in range(6):
        real = torch.ones(3, 20, dtype=torch.bool) if rank == 0 or step > 0 else torch.zeros(3, 20, dtype=torch.bool)
        restarts += float(quantizer(latents(40 * step + rank), mask=real).stats["restarts"])
    return quantizer.state_dict() | {"restarts": torch.tensor(restarts)}


def _scenario_nan(rank: int) -> dict[str, Tensor]:
    raised = []
    for quantizer in (build("ema"), build("residual")):
        for step in range(2):
            bad = latents(step)
            if rank == 1:
                bad[0, 0, 0] = float("nan")
            try:
                quantizer(bad)
                raised.append(False)
            except NonFiniteError:
                raised.append(True)
            quantizer(latents(step))
    return {"raised": torch.tensor(raised)}


def _scenario_loaded(rank: int) -> dict[str, Tensor]:
    quantizer = build("ema")
    if rank == 0:
        state = {key: tensor.clone() for key, tensor in quantizer.state_dict().items()}
        quantizer.load_state_dict(state | {"initialised": torch.tensor(True)})
    try:
        quantizer(latents(0))
        return {"refused": torch.tensor(False)}
    except UserError:
        return {"refused": torch.tensor(True)}


def _scenario_eval(rank: int) -> dict[str, Tensor]:
    quantizer = build("residual")
    quantizer(latents(0))
    if rank == 0:
        quantizer.eval()(latents(1))
        quantizer.encode(latents(1))
        quantizer.train()
    return {"usage": quantizer(latents(2)).stats["usage"]}


def _work(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    early: Quantizer = build("ema")  # before there are peers
    torch_dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.manual_seed(0)
    early(latents(rank))
    results = {name: _scenario_equal(name, rank) for name in NAMES}
    results |= {"early": early.state_dict(), "nan": _scenario_nan(rank), "eval": _scenario_eval(rank)}
    results |= {"loaded": _scenario_loaded(rank)}
    results |= {f"start {name}": _scenario_padded_start(name, rank) for name in PADDED_START}
    torch.save(results, Path(folder) / f"{rank}.pt")
    torch_dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    """What each of two spawned ranks ended with."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    start: Callable[..., object] = multiprocessing.spawn  # pyright: ignore[reportPrivateImportUsage]
    start(_work, args=(port, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", NAMES)
def test_ranks_end_with_the_same_bits(name: str, ranks: list[dict[str, dict[str, Tensor]]]) -> None:
    for key, tensor in ranks[0][name].items():
        assert torch.equal(tensor, ranks[1][name][key]), key


@pytest.mark.parametrize("name", NAMES)
def test_two_ranks_equal_one_rank_with_the_joined_batch(name: str, ranks: list[dict[str, dict[str, Tensor]]]) -> None:
    quantizer = build(name)
    for step in range(STEPS):
        torch.manual_seed(step)
        joined = torch.cat([latents(10 * step + rank) for rank in range(2)])
        result = quantizer(joined, mask=torch.cat([_real(step, rank) for rank in range(2)]))
    alone = quantizer.state_dict() | {f"stats {key}": value for key, value in result.stats.items()}
    for key, tensor in alone.items():  # sums in another order: a few float32 roundings
        torch.testing.assert_close(ranks[0][name][key], tensor, rtol=1e-4, atol=1e-5, msg=key)


def test_a_quantizer_built_before_the_peers_learns_from_all(ranks: list[dict[str, dict[str, Tensor]]]) -> None:
    quantizer = build("ema")
    torch.manual_seed(0)
    quantizer(torch.cat([latents(0), latents(1)]))
    for key, tensor in quantizer.state_dict().items():
        torch.testing.assert_close(ranks[0]["early"][key], tensor)
        assert torch.equal(ranks[0]["early"][key], ranks[1]["early"][key])


def test_a_nan_on_one_rank_raises_on_all(ranks: list[dict[str, dict[str, Tensor]]]) -> None:
    assert all(bool(rank["nan"]["raised"].all()) for rank in ranks)


def test_one_rank_alone_may_evaluate(ranks: list[dict[str, dict[str, Tensor]]]) -> None:
    assert torch.equal(ranks[0]["eval"]["usage"], ranks[1]["eval"]["usage"])


def test_a_codebook_that_only_one_rank_has_loaded_is_refused_on_all(ranks: list[dict[str, dict[str, Tensor]]]) -> None:
    assert all(bool(rank["loaded"]["refused"]) for rank in ranks)


@pytest.mark.parametrize("name", PADDED_START)
def test_a_rank_without_data_at_the_start_takes_part_in_filling_and_restarts(
    name: str, ranks: list[dict[str, dict[str, Tensor]]]
) -> None:
    ours, theirs = (rank[f"start {name}"] for rank in ranks)
    assert float(ours["restarts"]) > 0
    for key, tensor in ours.items():
        assert torch.equal(tensor, theirs[key]), key
