"""A wished bitrate becomes the nearest number of codebooks that the model has."""

from __future__ import annotations

import io

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from codec.core.errors import UserError
from codec.core.grid import Grid
from codec.data.audio import write_audio
from codec.files import encode_file
from codec.files.header import nominal_bps
from codec.files.rate import active_levels, expected_bps, nearest_levels, parse_bitrate
from codec.models.build import build_model
from codec.models.vqvae import VQVAE
from codec.priors.base import Geometry
from codec.priors.frame_coding import FrameCodingConfig, FrameCodingPrior
from codec.priors.frames import FrameConfig
from tests.files.media import tone
from tests.models.kinds import CONFIGS

MODELS = {name: build_model(CONFIGS[name]) for name in ("sound", "spectral", "sound-pyramid")}


@given(name=st.sampled_from(sorted(MODELS)), rows=st.integers(1, 3), wish=st.floats(1, 1e6))
def test_no_rate_of_the_model_is_nearer_than_the_chosen_one(name: str, rows: int, wish: float) -> None:
    model = MODELS[name]
    chosen = expected_bps(model, nearest_levels(model, wish, rows), rows)
    for num_active in model.rates:
        other = expected_bps(model, active_levels(model, num_active), rows)
        assert abs(chosen - wish) <= abs(other - wish)


def test_of_two_rates_as_near_the_lower_is_chosen() -> None:
    model = MODELS["sound"]  # 2 codebooks of 32 at 1000 frames a second: 5 and 10 kbit/s
    assert [level.num_active for level in nearest_levels(model, 7500.0)] == [1]
    assert [level.num_active for level in nearest_levels(model, 7501.0)] == [2]


def test_codes_that_training_seldom_saw_cost_less_than_they_do_nominally() -> None:
    model = build_model(CONFIGS["sound"])  # 2 codebooks of 32
    levels = active_levels(model, None)
    assert expected_bps(model, levels) == pytest.approx(nominal_bps(levels, 16000))
    model.histogram[1] = torch.tensor([1 << 20] * 2 + [1] * 30)  # one bit
    assert expected_bps(model, levels) == pytest.approx(1000 * (5 + 1), rel=1e-3)
    assert expected_bps(model, active_levels(model, 1), rows=2) == pytest.approx(2 * 5000)
    assert [level.num_active for level in nearest_levels(model, 6400.0)] == [2]


def test_where_it_was_measured_what_a_prior_takes_that_is_what_counts() -> None:
    model = MODELS["sound"]  # 2 codebooks at 1000 frames a second
    grids = [Grid.of(level) for level in model.levels]
    config = FrameCodingConfig(frames=FrameConfig(embedding_dim=2, hidden=2, features=2), exponentials=4)
    prior = FrameCodingPrior(config, Geometry(ndim=1, level=grids[0]))
    assert nearest_levels(model, 7500.0, prior=prior) == nearest_levels(model, 7500.0)
    prior.shares = {1: 0.8, 2: 0.6}
    assert expected_bps(model, active_levels(model, 1), rows=2, prior=prior) == pytest.approx(8000)
    assert expected_bps(model, active_levels(model, 2), prior=prior) == pytest.approx(6000)
    assert [level.num_active for level in nearest_levels(model, 5001.0, prior=prior)] == [2]
    prior.shares = {2: 0.7}
    assert expected_bps(model, active_levels(model, 1), prior=prior) == pytest.approx(0.7 * 5000)


@pytest.mark.parametrize(
    ("text", "bitrate_bps"), [("3k", 3000.0), ("3000", 3000.0), ("0.75k", 750.0), ("1.5k", 1500.0), ("64", 64.0)]
)
def test_a_bitrate_is_read_in_bits_or_in_thousands_of_them(text: str, bitrate_bps: float) -> None:
    assert parse_bitrate(text) == bitrate_bps


@pytest.mark.parametrize(
    "text", ["", "k", "3kbps", "-3k", "0", "0.0k", "1e3", "nan", "3 k", "3k\n", "٣", "9" * 400, "9" * 308 + "k"]
)
def test_what_is_no_bitrate_is_refused_and_the_message_shows_one(text: str) -> None:
    with pytest.raises(UserError, match="such as 3000, 3k"):
        parse_bitrate(text)


def test_the_report_tells_the_chosen_rate_and_counts_all_channels(audio_model: VQVAE) -> None:
    stereo = io.BytesIO()
    write_audio(stereo, tone(4000, channels=2), 16000)
    stereo.seek(0)
    report = encode_file(stereo, io.BytesIO(), audio_model, bitrate_bps=9000.0)
    assert (report.num_active, report.nominal_bps) == (1, 10000.0)  # two channels of 5 kbit/s
    expected = expected_bps(audio_model, active_levels(audio_model, 1), rows=2)
    assert report.notes == (f"nearest to 9 kbit/s: 1 codebook, expected {expected / 1000:.2f} kbit/s",)


def test_two_ways_to_say_the_rate_are_one_too_many(audio_model: VQVAE) -> None:
    with pytest.raises(UserError, match="leave one out"):
        encode_file(io.BytesIO(), io.BytesIO(), audio_model, num_active=1, bitrate_bps=5000.0)


def test_pictures_have_no_bitrate(image_model: VQVAE) -> None:
    with pytest.raises(UserError, match="give --num-active"):
        encode_file(io.BytesIO(), io.BytesIO(), image_model, bitrate_bps=5000.0)
