"""Processes that do tasks: what one task does to itself does nothing to the others."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import torch

from codec.core.errors import UserError
from codec.files.workers import Failed, run_tasks


def _perform(task: Any) -> Any:
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "mistake":
        raise UserError("a line\nand another")
    if task == "bug":
        raise KeyError("x")
    if task == "full":
        raise OSError(errno.ENOSPC, "No space left on device")
    return (task, os.getpid(), torch.get_num_threads())


def _start() -> Callable[[Any], Any]:
    return _perform


def _cannot_start() -> Callable[[Any], Any]:
    raise UserError("no such model")


def _answers(tasks: list[Any], *, jobs: int, start: Callable[[], Any] = _start) -> dict[int, Any]:
    with closing(run_tasks(start, tasks, jobs=jobs)) as answers:
        return dict(answers)


def test_every_task_is_done_once_by_so_many_processes_of_one_thread() -> None:
    answers = _answers(list(range(20)), jobs=3)
    assert [answers[number][0] for number in range(20)] == list(range(20))
    assert len({process for _, process, _ in answers.values()}) <= 3
    assert {threads for _, _, threads in answers.values()} == {1}


def test_a_task_that_fails_or_dies_is_told_and_the_rest_go_on() -> None:
    answers = _answers(["mistake", 1, "die", 3, "bug", 5], jobs=2)
    assert answers[0] == Failed("a line and another")
    assert answers[2].reason.startswith("its worker died (signal 9)")
    assert answers[4] == Failed("KeyError: 'x'")
    assert [answers[number][0] for number in (1, 3, 5)] == [1, 3, 5]


def test_processes_that_die_one_after_the_other_end_the_run() -> None:
    with pytest.raises(UserError, match="--jobs"):
        _answers(["die"] * 9, jobs=2)


def test_a_full_disk_and_a_start_that_fails_end_the_run() -> None:
    with pytest.raises(OSError, match="No space"):
        _answers(["full", 1], jobs=1)
    with pytest.raises(UserError, match="no such model"):
        _answers([1, 2], jobs=2, start=_cannot_start)


def test_no_tasks_take_no_process() -> None:
    assert _answers([], jobs=4) == {}
