"""Folders of recordings, and everything that is in a folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from codec.data.audio import write_audio
from tests.files.media import tone


def recordings(folder: Path, count: int, *, num_samples: int = 4000) -> Path:
    """`count` recordings in two folders, one in four stereo, of different lengths; and one file that is none."""
    for index in range(count):
        path = folder / ("a" if index % 3 else "b/c") / f"{index:03d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(path, tone(num_samples + 77 * index, channels=1 + (index % 4 == 0)), 16000)
    (folder / "broken.wav").write_bytes(b"no sound at all")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file at any depth, hidden ones too, and its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def interrupted(*arguments: str, when: Callable[[], bool], by: signal.Signals) -> int:
    """Run the command, end it by a signal as soon as `when` holds, and return its exit code.

    SIGINT goes to all of its processes, as Ctrl-C does.
    """
    command = [sys.executable, "-m", "codec", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True, preexec_fn=_heed_interrupts
    )
    deadline = time.monotonic() + 120
    while not when() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    if by is signal.SIGINT:
        os.killpg(process.pid, by)
    else:
        process.send_signal(by)
    return process.wait(60)


def _heed_interrupts() -> None:
    """A child of a shell's background job would ignore them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
