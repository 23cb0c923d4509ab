"""Small real files and a tiny saved model of each medium."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from codec.checkpoint import save_model
from codec.models.tiny import tiny_model


@pytest.fixture(scope="session")
def audio_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a tiny model of sound."""
    folder = tmp_path_factory.mktemp("models") / "tiny-audio"
    save_model(tiny_model("audio"), folder)
    return str(folder)


@pytest.fixture(scope="session")
def image_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a tiny model of pictures."""
    folder = tmp_path_factory.mktemp("models") / "tiny-image"
    save_model(tiny_model("image"), folder)
    return str(folder)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: it holds speech.wav (stereo, 0.3 s, 8 kHz) and photo.png (23 x 17)."""
    monkeypatch.chdir(tmp_path)
    time_s = np.arange(2401) / 8000
    tone = 0.4 * np.sin(2 * math.pi * 220 * time_s)
    soundfile.write("speech.wav", np.stack([tone, -tone], axis=1), 8000)
    Image.effect_mandelbrot((23, 17), (-2, -1, 1, 1), 50).convert("RGB").save("photo.png")
    return tmp_path


def run_codec(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "codec", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, input=stdin, capture_output=True, env=environment, timeout=120, check=False)
