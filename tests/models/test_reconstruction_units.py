"""Units by reconstruction: what is said goes through the units, and the decoder is told who says it."""

import pytest
import torch
from torch.nn.functional import pad

from codec.checkpoint.units import load_units, save_units
from codec.core.errors import UserError
from codec.models.audible_units import AudibleUnits
from codec.models.build_units import build_units, parse_units
from codec.train.units import UnitTask

RATE = 16000
HUMS = {"ann": 3000.0, "bob": 6000.0}  # what tells the speakers apart, in Hz
TREE = {
    "kind": "vqvae",
    "features": {"kind": "log_mel", "num_mels": 20},
    "encoder": {"width": 24, "blocks": 1, "kernel": 3},
    "latent_dim": 8,
    "quantizer": {"kind": "ema", "codebook_size": 12, "decay": 0.9},
    "decoder": {"width": 24, "kernel": 5, "dilations": [1, 2]},
    "target": {"num_mels": 40, "window": 640, "normalise": False},
    "speakers": sorted(HUMS),
    "nameless": 0.0,
}


def _model(**changes):
    torch.manual_seed(0)
    model = build_units(parse_units({**TREE, **changes}))
    assert isinstance(model, AudibleUnits)
    return model


def _said(speaker, seed, seconds=0.8):
    """Tones of 0.1 s in any order, beside the hum of the speaker: `[1, time]`."""
    generator = torch.Generator().manual_seed(seed)
    tones = torch.tensor([300.0, 800.0, 1500.0])[torch.randint(3, (int(10 * seconds),), generator=generator)]
    time = torch.arange(int(seconds * RATE)) / RATE
    tone = torch.sin(2 * torch.pi * tones.repeat_interleave(RATE // 10) * time)
    return (0.3 * tone + 0.3 * torch.sin(2 * torch.pi * HUMS[speaker] * time))[None]


@pytest.fixture(scope="module")
def trained():
    """A short training on two speakers."""
    model = _model()
    task = UnitTask(model, {"reconstruction": 1.0, "commitment": 0.25})
    optimizer = torch.optim.Adam(model.parameters(), 8e-3)
    for step in range(140):
        speech = torch.stack([_said(name, 2 * step + row) for row in range(2) for name in sorted(HUMS)])
        outcome = task(speech, speakers=torch.tensor([1, 2, 1, 2]))
        optimizer.zero_grad()
        task.total(outcome["losses"]).backward()
        optimizer.step()
    return model.eval()


def test_swapping_the_speaker_converts_the_voice_and_keeps_what_is_said(trained):
    by_ann, by_bob = (trained.targets(_said(name, 1000)[None]) for name in sorted(HUMS))
    units = trained.units(_said("ann", 1000)[None])
    as_ann, as_bob = (trained.log_mel(units, torch.tensor([number])) for number in (1, 2))
    assert (as_ann - by_ann).abs().mean() < 0.5 * (as_ann - by_bob).abs().mean()
    assert (as_bob - by_bob).abs().mean() < 0.5 * (as_bob - by_ann).abs().mean()
    low = slice(0, 20)  # the tones
    assert (as_bob[:, low].argmax(1) - by_ann[:, low].argmax(1)).abs().float().mean() < 1


def test_the_sound_hums_as_the_speaker_does(trained):
    units = trained.units(_said("ann", 7)[None])
    for name, hum in HUMS.items():
        sound = trained.resynthesize(units, speaker=name)
        assert sound.shape == (1, 1, 12800) and sound.isfinite().all()
        spectrum = torch.fft.rfft(sound[0, 0] * torch.hann_window(12800)).abs()
        assert (2000 + spectrum[1600:].argmax() * 1.25).item() == pytest.approx(hum, abs=200)


def test_who_is_not_known_is_refused_with_names_that_are(trained):
    units = trained.units(_said("ann", 0)[None])
    with pytest.raises(UserError, match=r"never heard a speaker 'eve'; it knows unknown, ann, bob$"):
        trained.resynthesize(units, speaker="eve")
    crowd = _model(speakers=[f"s{number:02}" for number in range(30)])
    with pytest.raises(UserError, match="it knows unknown, s00, s01, s02, s03 and 26 more"):
        crowd.number_of("eve")


@pytest.mark.parametrize("units", [torch.zeros(1, 0, dtype=torch.int64), torch.zeros(5, dtype=torch.int64)])
def test_no_units_make_no_sound(units):
    with pytest.raises(UserError, match=r"\[b, num_units\]"):
        _model().eval().resynthesize(units)
    with pytest.raises(UserError, match="codes run from 12"):
        _model().eval().resynthesize(torch.full((1, 3), 12))


def test_a_saved_model_speaks_as_before(trained, tmp_path):
    save_units(trained, tmp_path / "mine")
    again = load_units(tmp_path / "mine", device="cpu")
    assert isinstance(again, AudibleUnits) and again.speakers == ("unknown", "ann", "bob")
    units = torch.randint(12, (1, 20), generator=torch.Generator().manual_seed(0))
    assert torch.equal(again.resynthesize(units, speaker="bob"), trained.resynthesize(units, speaker="bob"))


def test_padding_costs_nothing():
    """Targets that are not real, however wrong, leave the loss as it is."""
    model = _model(jitter=0.0).eval()
    speech = _said("ann", 3)[None]
    mask = torch.arange(19200)[None] < 12800
    losses = [
        model(torch.cat((speech, fill), 2), mask=mask).losses["reconstruction"]
        for fill in (torch.zeros(1, 1, 6400), pad(torch.full((1, 1, 5760), 0.5), (640, 0)))  # beyond the last window
    ]
    torch.testing.assert_close(losses[0], losses[1], atol=1e-4, rtol=0)


def test_nobody_in_particular_is_who_speaks_when_nobody_is_named(trained):
    speech = _said("ann", 4)[None]
    unnamed = trained(speech).losses["reconstruction"]
    assert torch.equal(unnamed, trained(speech, speakers=torch.zeros(1, dtype=torch.int64)).losses["reconstruction"])
    assert not torch.equal(unnamed, trained(speech, speakers=torch.ones(1, dtype=torch.int64)).losses["reconstruction"])


def test_nameless_speech_teaches_the_unknown_speaker():
    for nameless, taught in ((0.0, False), (1.0, True)):
        model = _model(nameless=nameless).train()
        model(_said("ann", 5)[None], speakers=torch.ones(1, dtype=torch.int64)).losses["reconstruction"].backward()
        unknown, ann, _ = dict(model.named_parameters())["decoder.speakers.weight"].grad  # pyright: ignore
        assert bool(unknown.any()) is taught and bool(ann.any()) is not taught


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"target": {"normalise": True}}, "normalised"),
        ({"target": {"hop_length": 96, "normalise": False}}, "does not divide the 320"),
        ({"jitter": 1.0}, "jitter"),
        ({"quantizer": {"kind": "residual"}}, "kind"),
    ],
)
def test_wrong_configs_are_refused(changes, named):
    with pytest.raises(UserError, match=named):
        parse_units({**TREE, **changes})
