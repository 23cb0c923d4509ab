"""A few seconds of generated sound, and a recipe small enough to train on it within a test."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile

TINY = {
    "data": {"crop": 1024, "batch_size": 4, "workers": 1, "validation_items": 2},
    "model": {
        "media": {"kind": "audio", "sample_rate": 16000},
        "encoder": {"stages": [{"stride": 4, "width": 8, "dilations": [1]}, {"stride": 4, "width": 8}]},
        "latent_dim": 8,
        "quantizer": {
            "kind": "residual",
            "num_codebooks": 2,
            "dropout": 0.5,
            "codebook": {"kind": "ema", "codebook_size": 16},
        },
        "chunk": 64,
    },
    "losses": {"mel": 1.0, "l1": 1.0, "commitment": 0.25},
    "loop": {
        "steps": 12,
        "log_every": 1,
        "validate_every": 4,
        "save_every": 3,
        "device": "cpu",
        "threads": 1,
        "optimizer": {"warmup_steps": 2, "learning_rate": 1e-3},
    },
}


def write_corpus(folder: Path, *, files: int = 6) -> Path:
    """Chirps with noise, four to train on and the rest to validate on; returns the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    lines = []
    for index in range(files):
        time = np.arange(8000) / 16000
        wave = 0.3 * np.sin(2 * np.pi * (200 + 300 * index + 400 * time) * time) + 0.02 * generator.standard_normal(
            8000
        )
        soundfile.write(folder / f"{index}.wav", wave, 16000)
        lines.append({"path": f"{index}.wav", "split": "train" if index < 4 else "validation"})
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return manifest
