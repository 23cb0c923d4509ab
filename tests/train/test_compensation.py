"""What clustering draws from latents, and the maps that take off them what does not tell sounds apart."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from codec.core.errors import UserError
from codec.models.feature_units import FeatureUnits, FeatureUnitsConfig
from codec.nn.features import MfccConfig
from codec.quantize.ema import EMAConfig
from codec.train.clusters import draw_latents
from codec.train.compensation import (
    add_compensation,
    compensation_for_recordings,
    compensation_for_segments,
    units_in_segments,
)


class _Latents(FeatureUnits):
    """A model whose latents `[n, d]` of a recording are its samples `[1, n x d]`."""

    def __init__(self, dim: int):
        super().__init__(FeatureUnitsConfig(features=MfccConfig(), quantizer=EMAConfig()))
        self.dim = dim

    def latents(self, signal: torch.Tensor, *, mask: torch.Tensor | None = None) -> torch.Tensor:
        return signal[0].unflatten(1, (-1, self.dim)).transpose(1, 2)


def test_what_stands_still_is_left_out_if_asked():
    generator = torch.Generator().manual_seed(0)
    silence, speech = torch.full((30, 39), 5.0), 3 * torch.randn(70, 39, generator=generator)
    recordings = [torch.cat([silence, speech + seed]).reshape(1, -1) for seed in range(3)]
    model = _Latents(39)
    every = draw_latents(model, recordings)
    moving = draw_latents(model, recordings, still=0.2)
    assert (len(every), len(moving)) == (300, 240)
    silent = [int((rows == 5).all(1).sum()) for rows in (every, moving)]
    assert silent == [90, 30]  # 84 do not change at all, 60 of which are left out
    assert len(draw_latents(model, recordings, still=0.2, most=100)) == 100
    assert len(draw_latents(model, recordings, still=0.3, most=100)) == 100


@pytest.mark.parametrize("seed", range(4))
def test_compensation_takes_off_what_recordings_differ_in_and_leaves_what_phones_differ_in(seed):
    """Phones differ in the first three channels, voices in the other three."""
    generator = torch.Generator().manual_seed(seed)
    corners = 2.5 * torch.cat((torch.eye(3), -torch.eye(3)))
    phones = torch.cat((corners, torch.zeros(6, 3)), 1)
    said = torch.randint(6, (40, 300), generator=generator)
    voices = torch.randn(40, 1, 6, generator=generator) * torch.tensor([0.2, 0.2, 0.2, 2, 2, 2])
    spoken = phones[said] + voices + 0.3 * torch.randn(40, 300, 6, generator=generator)
    model, recordings = _Latents(6), [recording.reshape(1, -1) for recording in spoken]
    compensation = compensation_for_recordings(model, recordings, draw_latents(model, recordings), seed=0)
    assert compensation.shape == (6, 6) and compensation.norm().item() == pytest.approx(6**0.5, rel=1e-4)

    def share_of_phones(latents: torch.Tensor) -> float:
        """Variance between phones, of the whole."""
        means = torch.stack([latents[said == phone].mean(0) for phone in range(6)])
        return float(means[said].var((0, 1)).sum() / latents.var((0, 1)).sum())

    assert share_of_phones(spoken @ compensation.T) > 1.5 * share_of_phones(spoken)


def test_too_little_speech_to_compensate_is_refused():
    model = _Latents(6)
    with pytest.raises(UserError, match="too few to compensate"):
        compensation_for_recordings(model, [torch.zeros(1, 300)], torch.zeros(50, 6), seed=0)
    for recordings in ([], [0.1 * torch.randn(1, 600, generator=torch.Generator().manual_seed(0))]):
        with pytest.raises(UserError, match="segments of sound are too few to compensate"):
            compensation_for_segments(model, recordings)


def test_latents_that_do_not_differ_are_refused():
    model = _Told({32000: torch.ones(100, 3)})
    wave = 0.3 * torch.sin(torch.arange(32000.0).square() / 4000)[None]
    with pytest.raises(UserError, match="do not differ"):
        compensation_for_segments(model, [wave])


@pytest.mark.parametrize(
    ("frames_per_unit", "begins"), [(2.0, [0, 4, 6]), (1.0, [0, 7, 11]), (4.0, [0, 2, 3]), (0.5, [0, 14])]
)
def test_units_lie_in_the_segment_that_most_of_them_is_in(frames_per_unit, begins):
    steps = np.repeat([[0.0], [9.0], [-9.0]], [7, 4, 9], axis=0)
    size = min(int(20 / frames_per_unit), 20)
    found = units_in_segments(steps, frames_per_unit=frames_per_unit, size=size)
    changes = np.flatnonzero(np.diff(found.numpy(), prepend=-1)).tolist()
    assert found.tolist() == (np.searchsorted(begins, np.arange(size), side="right") - 1).tolist() and changes == begins


class _Told(FeatureUnits):
    """A model of 50 units a second whose latents `[n, d]` of a recording are those told for its number of samples."""

    def __init__(self, latents: dict[int, torch.Tensor]):
        super().__init__(FeatureUnitsConfig(features=MfccConfig(), stride=2, quantizer=EMAConfig()))
        self.told = latents

    def latents(self, signal: torch.Tensor, *, mask: torch.Tensor | None = None) -> torch.Tensor:
        return self.told[signal.shape[2]].T[None]


def test_what_changes_within_a_sound_counts_for_less_and_what_changes_with_it_is_left():
    """Tones of 160 ms: one channel tells which, one how far it has come, and one is of both."""
    generator = np.random.default_rng(0)
    recordings, latents, means = [], {}, []
    for number in range(12):
        turns = generator.integers(1, 4, 20 + number).cumsum() % 4  # never the same tone twice in a row
        tones = np.array([300.0, 700.0, 1500.0, 3200.0])[turns]
        wave = np.concatenate([0.3 * np.sin(2 * np.pi * tone * np.arange(2560) / 16000) for tone in tones])
        recordings.append(torch.from_numpy(wave).float()[None])
        which, come = np.log(tones / 1000).repeat(8), np.tile(np.linspace(-1, 1, 8), len(tones))
        rows = 10 + np.stack([which, come, which + come], axis=1)
        latents[len(wave)] = torch.from_numpy(rows).float()
        means.append(rows.reshape(-1, 8, 3).mean(1).repeat(8, axis=0))
    model, rows = _Told(latents), torch.cat(list(latents.values()))
    found = compensation_for_segments(model, recordings)
    assert found.shape == (3, 3) and found.norm().item() == pytest.approx(math.sqrt(3), rel=1e-4)
    mapped = (rows @ found.T).numpy()
    told = np.concatenate(means)
    for channel in (0, 2):
        assert abs(np.corrcoef(mapped[:, channel], told[:, 0])[0, 1]) > 0.96  # of channel 2 it was 0.8
    plain = rows.numpy()
    assert mapped[:, 1].std() / mapped[:, 0].std() < 0.5 * plain[:, 1].std() / plain[:, 0].std()


def test_a_second_compensation_comes_after_the_first():
    config = FeatureUnitsConfig(features=MfccConfig(deltas=0), quantizer=EMAConfig(), compensate_latents=True)
    model = FeatureUnits(config).eval()
    speech = 0.1 * torch.randn(1, 1, 3200, generator=torch.Generator().manual_seed(0))
    plain, first, second = model.latents(speech), torch.rand(13, 13), torch.rand(13, 13)
    add_compensation(model, first)
    add_compensation(model, second)
    torch.testing.assert_close(model.latents(speech), second @ (first @ plain))
