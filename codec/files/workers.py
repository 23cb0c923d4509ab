"""Processes that do one task after another, each with a model of its own."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from codec.core.errors import UserError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_DEATHS = 3  # in a row, before it is the machine's fault and no file's


@dataclass(frozen=True)
class Failed:
    """A task that came to nothing, and why, in one line."""

    reason: str


@dataclass
class _Worker:
    process: BaseProcess
    task: int


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_tasks(
    start: Callable[[], Callable[[Any], Any]], tasks: Iterable[Any], *, jobs: int
) -> Generator[tuple[int, Any]]:
    """Yield (number of a task, its result or `Failed`) as they come, in any order.

    The processes end with the generator, which is to be closed, and with this process, however it ends.

    Args:
        start: called once in each process, on one thread of torch; what it returns is called with each task. Both, and
            results, go through pipes.
        jobs: processes at most.

    Raises:
        UserError: from `start`; or one process after the other died.
        OSError: the disk is full.
    """
    waiting = deque(enumerate(tasks))
    workers: dict[Connection, _Worker] = {}
    deaths = 0
    try:
        while waiting or workers:
            while waiting and len(workers) < jobs:
                number, task = waiting.popleft()
                connection, process = _launch(start)
                workers[connection] = _Worker(process, number)
                connection.send(task)
            for connection in wait(list(workers)):
                assert isinstance(connection, Connection)
                worker = workers[connection]
                try:
                    answer = connection.recv()
                except (EOFError, ConnectionResetError):
                    del workers[connection]
                    worker.process.join()
                    answer = Failed(f"its worker died ({_how(worker.process)}): maybe too little memory, try --jobs 1")
                    deaths += 1
                    if deaths == _DEATHS:
                        raise UserError(
                            f"{_DEATHS} workers died, the last by {_how(worker.process)}: try --jobs 1"
                        ) from None
                else:
                    deaths = 0
                    if isinstance(answer, Exception):
                        raise answer
                yield worker.task, answer
                if connection in workers and waiting:
                    worker.task, task = waiting.popleft()
                    connection.send(task)
                elif connection in workers:
                    del workers[connection]
                    connection.close()
                    worker.process.join()
    finally:
        for worker in workers.values():
            worker.process.terminate()
        for worker in workers.values():
            worker.process.join()


def _launch(start: Callable[[], Callable[[Any], Any]]) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("forkserver")  # torch is imported once, and no thread is forked
    context.set_forkserver_preload([__name__])
    _start_server()
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, start), daemon=True)
    process.start()
    theirs.close()
    return ours, process


def _start_server() -> None:
    """Have it deaf to Ctrl-C, which is for this process alone, from the start."""
    if threading.current_thread() is not threading.main_thread():
        forkserver.ensure_running()
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, previous)


def _serve(connection: Connection, start: Callable[[], Callable[[Any], Any]]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to stop
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    try:
        perform = start()
    except (UserError, OSError) as error:
        connection.send(error)
        return
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        connection.send(_attempt(perform, task))


def _attempt(perform: Callable[[Any], Any], task: Any) -> Any:
    try:
        return perform(task)
    except UserError as error:
        reason = str(error)
    except OSError as error:
        if error.errno in _FULL:
            return error
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except Exception as error:  # one strange file in a hundred thousand must not end the run
        reason = f"{type(error).__name__}: {error}"
    return Failed(" ".join(reason.split()))


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _how(process: BaseProcess) -> str:
    code = process.exitcode or 0
    return f"signal {-code}" if code < 0 else f"exit code {code}"
