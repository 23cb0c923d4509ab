"""Units of samples: the decoder gives samples, and is told who speaks."""

import pytest
import torch

from codec.core.errors import UserError
from codec.models.build_units import build_units, parse_units
from codec.models.waveform_units import WaveformUnits
from codec.train.units import UnitTask

TREE = {
    "kind": "waveform_vqvae",
    "encoder": {"stages": [{"stride": 20, "width": 12}, {"stride": 16, "width": 12}]},
    "decoder": {"activation": "elu", "stages": [{"stride": 320, "width": 24, "dilations": [1]}]},
    "latent_dim": 8,
    "quantizer": {"kind": "ema", "codebook_size": 8},
    "speakers": ["high", "low"],
    "nameless": 0.0,
    "jitter": 0.0,
}
TONES = {"high": 3000.0, "low": 500.0}


def test_the_voice_is_that_of_the_speaker_asked_for():
    torch.manual_seed(0)
    model = build_units(parse_units(TREE))
    assert isinstance(model, WaveformUnits)
    task = UnitTask(model, {"mel": 1.0, "stft": 1.0, "l1": 1.0, "commitment": 0.1})
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    time = torch.arange(6400) / 16000
    speech = torch.stack([0.3 * torch.sin(2 * torch.pi * TONES[name] * time) for name in model.speakers[1:]])[:, None]
    for _ in range(40):
        outcome = task(speech, speakers=torch.tensor([1, 2]))
        optimizer.zero_grad()
        task.total(outcome["losses"]).backward()
        optimizer.step()
    units = model.eval().units(speech)[:1]
    for name in TONES:
        sound = model.resynthesize(units, speaker=name)
        assert sound.shape == (1, 1, 6400)
        spectrum = torch.fft.rfft(sound[0, 0]).abs()
        near = {other: spectrum[round(hertz / 2.5) + torch.arange(-20, 21)].max() for other, hertz in TONES.items()}
        assert near[name] == max(near.values())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"decoder": {"stages": [{"stride": 160, "width": 4}]}}, "downsamples by 320, the decoder upsamples by 160"),
        ({"features": {"kind": "mfcc", "hop_length": 200}}, "does not divide the 320 samples"),
    ],
)
def test_strides_that_disagree_are_refused(changes, named):
    with pytest.raises(UserError, match=named):
        parse_units({**TREE, **changes})


def test_latents_of_a_recording_are_smoothed_and_normalised_if_the_config_says_so():
    torch.manual_seed(0)
    model = build_units(parse_units(TREE)).eval()
    config = model.config.model_copy(update={"normalise_latents": True})
    other = build_units(config).eval()
    other.load_state_dict(model.state_dict())
    speech = 0.1 * torch.randn(1, 1, 20 * config.downsample_factor)
    plain, normalised = model.latents(speech), other.latents(speech)
    assert normalised.mean(2).abs().max() < 1e-4 < plain.mean(2).abs().max()
