"""SIGTERM and SIGINT as a polite request: finish the step, save, exit."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

import torch

from codec.core import dist


class StopRequest:
    """Within the context, SIGTERM and SIGINT set a flag; a second SIGINT interrupts at once."""

    def __init__(self, device: torch.device):
        self._device = device
        self._seen = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]

    def __call__(self, also: bool = False) -> bool:
        """Whether any rank was asked to stop, or says `also`; the same answer on all ranks, which must all ask."""
        return dist.any_rank(self._seen or also, device=self._device)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._seen and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._seen = True
