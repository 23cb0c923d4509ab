"""What every classical codec gives when it is run for comparison: a real file, whose bytes count, decoded again.

A rival whose encoder is not on this machine is left out; one that is here and fails is a `RivalFailure`.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from codec.core.errors import UserError

_TIMEOUT_S = 600


@dataclass(frozen=True)
class RivalResult:
    """What a rival made of one signal.

    Attributes:
        name: of the codec.
        setting: the one thing that was chosen, in words.
        path: the compressed file.
        num_bytes: its size on disk.
        signal: decoded, `[c, time]` at the rate it was given, or `[3, height, width]`.
        encode_s, decode_s: seconds, the start of the program included.
        note: what to know when comparing.
    """

    name: str
    setting: str
    path: Path
    num_bytes: int
    signal: Tensor
    encode_s: float
    decode_s: float
    note: str = ""


@dataclass(frozen=True)
class RivalFailure:
    """A rival that is here and could not code the signal, and why."""

    name: str
    reason: str


def attempt(name: str, run: Callable[[], RivalResult]) -> RivalResult | RivalFailure:
    """What `run` gives; a codec that breaks down is not to take the whole evaluation with it."""
    try:
        return run()
    except (UserError, OSError, ValueError, RuntimeError, subprocess.SubprocessError) as error:
        # libsndfile's are RuntimeErrors, and Pillow's of a picture that is too large for WebP is a ValueError
        return RivalFailure(name, " ".join(str(error).split()))


def run_program(program: str, *arguments: str | Path) -> float:
    """Run a program and return the seconds it took; its complaint is the error."""
    start = time.perf_counter()
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode:
        complaint = done.stderr.decode(errors="replace").strip().splitlines()
        raise RuntimeError(f"{program} failed: {complaint[-1] if complaint else f'exit code {done.returncode}'}")
    return time.perf_counter() - start
