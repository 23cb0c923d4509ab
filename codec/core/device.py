"""Which device to run on, and on how many of its cores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from codec.core.errors import UserError


def resolve_device(name: str = "auto") -> torch.device:
    """Turn `auto`, `cpu` or `cuda[:n]` into a device; `auto` is CUDA where present.

    Raises:
        UserError: the name is unknown, or CUDA is asked for and absent.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device {name!r} is unknown: use auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("device 'cuda' asked for, but no CUDA GPU is visible: use --device cpu")
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device {name!r} is not supported: use auto, cpu or cuda")
    return device


@contextmanager
def one_core_left() -> Iterator[None]:
    """Within the context PyTorch leaves a core of the CPU to another thread: more threads than cores only wait."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads - 1))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
