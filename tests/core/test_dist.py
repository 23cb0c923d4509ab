"""Collectives: alone they are the identity; among peers every rank gets the same."""

import socket
from collections.abc import Callable

import torch

from codec.core import dist


def test_alone_every_collective_is_the_identity():
    rows = torch.arange(6).view(3, 2)
    assert dist.world_size() == 1 and dist.rank() == 0
    assert torch.equal(dist.differentiable_sum(rows), rows)
    assert torch.equal(dist.all_reduce_sum(rows), rows)
    assert torch.equal(dist.broadcast(rows), rows)


def _worker(rank: int, port: int, check: Callable[[int], None]) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    check(rank)
    torch.distributed.destroy_process_group()


def _check(rank: int) -> None:
    mine = torch.tensor([2.0, 3.0 + rank], requires_grad=True)
    joint = dist.differentiable_sum(mine)
    assert joint.tolist() == [4.0, 7.0]
    joint.sum().backward()
    assert mine.grad is not None and mine.grad.tolist() == [2.0, 2.0]  # averaged over two ranks: 1
    assert dist.all_reduce_sum(torch.tensor([rank + 1.0])).item() == 3.0
    assert dist.broadcast(torch.tensor([rank])).item() == 0
    assert (dist.rank(), dist.world_size()) == (rank, 2)


def test_two_ranks_agree():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(  # pyright: ignore[reportPrivateImportUsage]
        _worker, args=(port, _check), nprocs=2
    )  # raises if a rank's assertion fails
    assert not torch.distributed.is_initialized()
