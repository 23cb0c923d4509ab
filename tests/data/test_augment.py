"""Augmentation changes what it says by as much as it says, and validation never sees it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from codec.data.augment import mixed, tilted, within_full_scale
from codec.data.config import DataConfig
from codec.data.loader import TrainingBatches, ValidationBatches
from tests.data.makers import Medium, audio_corpus

AUDIO, RATE = Medium("audio"), 16000


def _level_db(signal: torch.Tensor, hz: float) -> float:
    """Of the component at `hz`, relative to full scale."""
    time = np.arange(signal.shape[-1]) / RATE
    return 20 * np.log10(2 * abs(np.mean(signal[0].numpy() * np.exp(-2j * np.pi * hz * time))))


@pytest.mark.parametrize("slope", [-3.0, 0.0, 2.0])
def test_a_tilt_is_so_many_decibels_per_octave_around_1_khz(slope):
    time = torch.arange(RATE) / RATE
    tones = [250.0, 1000.0, 4000.0]
    signal = torch.stack([0.1 * torch.sin(2 * torch.pi * hz * time) for hz in tones]).sum(0, keepdim=True)
    got = tilted(signal, db_per_octave=slope, sample_rate=RATE)
    changes = [_level_db(got, hz) - _level_db(signal, hz) for hz in tones]
    assert changes == pytest.approx([-2 * slope, 0, 2 * slope], abs=0.01)


def test_the_other_recording_is_as_loud_as_was_said_and_silence_mixes_without_nan():
    signal, other = torch.randn(1, 1000), 0.01 * torch.randn(1, 1000)
    added = mixed(signal, other, level_db=-6.0) - signal
    ratio = added.square().mean().sqrt() / signal.square().mean().sqrt()
    assert 20 * ratio.log10().item() == pytest.approx(-6.0, abs=1e-3)
    assert torch.equal(mixed(signal, torch.zeros_like(signal), level_db=0.0), signal)


def test_full_scale_is_kept_and_quiet_signals_are_left_alone():
    loud, quiet = torch.tensor([[0.5, -2.0]]), torch.tensor([[0.5, -0.9]])
    assert within_full_scale(loud).tolist() == [[0.25, -1.0]]
    assert torch.equal(within_full_scale(quiet), quiet)


def test_training_is_augmented_alike_every_time_within_full_scale_and_validation_is_not(tmp_path: Path):
    manifest = audio_corpus(tmp_path, [600, 3000, 3000])
    plain = DataConfig.model_validate({"train": [manifest], "crop": 1000, "batch_size": 3, "weighting": "file"})
    augmented = plain.model_copy(update={"tilt_db": (-3.0, 3.0), "mix_probability": 1.0})
    batches = [TrainingBatches(config, AUDIO, seed=0) for config in (plain, augmented, augmented)]
    before, after, again = (each.batch(0) for each in batches)
    assert torch.equal(after.signal, again.signal) and not torch.equal(after.signal, before.signal)
    assert after.signal.abs().max().item() <= 1.0
    assert after.mask is not None and before.mask is not None and torch.equal(after.mask, before.mask)
    assert not bool(after.signal[:, 0][~after.mask].any())
    validation = [
        ValidationBatches(config.model_copy(update={"validation_splits": ("train",)}), AUDIO)
        for config in (plain, augmented)
    ]
    assert torch.equal(validation[0].batch(0).signal, validation[1].batch(0).signal)
