"""Masked units: what is hidden, what is learnt from a teacher, and who may be one."""

import math
from dataclasses import replace

import pytest
import torch

from codec.checkpoint.units import load_unit_weights, save_units
from codec.core.errors import UserError
from codec.data.written_units import WrittenUnits
from codec.models.build_units import build_units, parse_units
from codec.models.masked_units import MaskedUnits
from codec.nn.hiding import draw_hidden
from codec.train.units import UnitTask

CONFIG = {
    "kind": "masked",
    "features": {"kind": "log_mel", "num_mels": 20},
    "encoder": {"width": 16, "blocks": 1},
    "context": {"kernel": 3, "dilations": [1], "head": [1]},
    "num_targets": 8,
    "quantizer": {"kind": "ema", "codebook_size": 4},
    "hidden": 0.3,
    "stretch": 2,
}
WEIGHTS = {"hidden": 1.0, "seen": 0.5, "commitment": 0.0}


def _teacher(size: int = 8, stride: int = 2):
    torch.manual_seed(1)
    features = {"kind": "mfcc", "num_mels": 20, "num_coefficients": 5}
    quantizer = {"kind": "ema", "codebook_size": size}
    teacher = build_units(
        parse_units({"kind": "features", "stride": stride, "features": features, "quantizer": quantizer})
    )
    latents = teacher.latents(_speech())
    teacher.quantizer.train()(latents)  # its codebook starts from what it hears
    return teacher.eval()


def _speech(rows: int = 4, units: int = 40) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    tones = 2 * torch.pi * torch.randint(200, 4000, (rows, units // 8, 1), generator=generator) / 16000
    return (0.3 * torch.sin(tones * torch.arange(8 * 320))).flatten(1)[:, None]


def test_stretches_are_hidden_and_their_share_is_as_asked():
    torch.manual_seed(0)
    hidden = draw_hidden(torch.Size([200, 500]), share=0.4, stretch=7, device=torch.device("cpu"))
    assert float(hidden.float().mean()) == pytest.approx(0.4, abs=0.02)
    inner = torch.nn.functional.pad(hidden.int(), (1, 1))
    for row in inner[:50]:
        edges = torch.diff(row).nonzero()[:, 0]
        lengths = edges[1::2] - edges[::2]
        whole = (edges[::2] > 0) & (edges[1::2] < 500)  # those that no end of the row cuts
        assert (lengths[whole] >= 7).all()


def test_it_learns_what_the_teacher_hears_behind_what_is_hidden():
    torch.manual_seed(0)
    task = UnitTask(build_units(parse_units(CONFIG)), WEIGHTS, teacher=_teacher()).train()
    speech = _speech()
    optimizer = torch.optim.AdamW([p for p in task.parameters() if p.requires_grad], 3e-3)
    hidden = []
    for _ in range(120):
        losses = task(speech)["losses"]
        optimizer.zero_grad()
        task.total(losses).backward()
        optimizer.step()
        hidden.append(float(losses["hidden"].detach()))
    assert hidden[0] > 1.5 and hidden[-1] < 0.6 * hidden[0]


def test_the_teacher_stays_as_it_is_and_no_latent_depends_on_hiding_when_units_are_written():
    torch.manual_seed(0)
    teacher = _teacher()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    task = UnitTask(build_units(parse_units(CONFIG)), WEIGHTS, teacher=teacher).train()
    task.total(task(_speech())["losses"]).backward()
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())
    model = task.model.eval()
    assert torch.equal(model.latents(_speech()), model.latents(_speech()))


def test_padding_teaches_nothing():
    torch.manual_seed(0)
    model = build_units(parse_units(CONFIG)).eval()
    speech = _speech(2)
    mask = torch.ones(2, speech.shape[2], dtype=torch.bool)
    mask[:, speech.shape[2] // 2 :] = False
    real = model.unit_mask(mask)
    assert real is not None
    targets = torch.randint(0, 8, real.shape)

    def losses(heard, told):
        with torch.no_grad():
            return model(heard, mask=mask, targets=told).losses

    noise = 0.3 * torch.randn(speech.shape)
    noise[..., : speech.shape[2] // 2 + 400] = 0  # a frame at the border hears both sides of it
    quiet, loud = speech * mask[:, None], torch.where(mask[:, None], speech, noise)
    as_it_is = losses(quiet, targets)
    untold = torch.where(real, targets, -1)
    for others in (
        losses(loud, targets),
        losses(quiet, torch.where(real, targets, (targets + 1) % 8)),
        losses(quiet, untold),
    ):
        assert all(float(others[name]) == pytest.approx(float(as_it_is[name]), rel=1e-4) for name in WEIGHTS)
    assert float(losses(quiet, (targets + 1) % 8)["hidden"]) != pytest.approx(float(as_it_is["hidden"]), rel=1e-3)


def test_a_place_without_a_target_teaches_nothing():
    torch.manual_seed(0)
    model = build_units(parse_units(CONFIG)).eval()
    speech = _speech(2)
    targets = torch.randint(0, 8, (2, speech.shape[2] // 320))
    with torch.no_grad():
        losses = model(speech, targets=torch.full_like(targets, -1)).losses
    assert float(losses["hidden"]) == float(losses["seen"]) == 0.0


def test_latents_may_be_narrower_than_the_encoder():
    torch.manual_seed(0)
    model = build_units(parse_units(CONFIG | {"latent_dim": 6})).eval()
    assert model.latents(_speech()).shape == (4, 6, 40)
    targets = torch.zeros(4, 40, dtype=torch.long)
    torch.stack(list(model(_speech(), targets=targets).losses.values())).sum().backward()
    assert all(parameter.grad is not None for parameter in model.encoder.parameters())


def test_units_that_were_written_down_are_a_teacher():
    model = build_units(parse_units(CONFIG))
    written = WrittenUnits("units.jsonl", num_units=8, samples_per_unit=320, units={})
    task = UnitTask(model, WEIGHTS, teacher=written).eval()
    assert task.telling.units is written
    targets = torch.randint(0, 8, (4, 40), generator=torch.Generator().manual_seed(0))
    assert task(_speech(), targets=targets)["losses"].keys() == WEIGHTS.keys()
    for wrong, message in (
        (replace(written, num_units=9), "has 9 units"),
        (replace(written, samples_per_unit=160), "100 a second"),
    ):
        with pytest.raises(UserError, match=message):
            UnitTask(model, WEIGHTS, teacher=wrong)


@pytest.mark.parametrize(
    ("teacher", "message"),
    [(None, "learns from 8 units of a teacher"), ((16, 2), "has 16 units"), ((8, 1), "100 a second")],
)
def test_a_teacher_that_does_not_fit_is_refused(teacher, message):
    with pytest.raises(UserError, match=message):
        UnitTask(build_units(parse_units(CONFIG)), WEIGHTS, teacher=teacher and _teacher(*teacher))


def test_a_model_that_learns_from_speech_alone_wants_no_teacher():
    model = build_units(
        parse_units(
            {
                "kind": "contrastive",
                "features": {"kind": "log_mel"},
                "encoder": {"width": 8},
                "quantizer": {"kind": "ema", "codebook_size": 4},
                "predictor": {"width": 8},
            }
        )
    )
    with pytest.raises(UserError, match="leave the teacher"):
        UnitTask(model, {"contrastive": 1.0, "commitment": 0.0}, teacher=_teacher())


def test_training_starts_from_a_model_of_the_same_config_only(tmp_path):
    torch.manual_seed(0)
    config = parse_units(CONFIG)
    trained, fresh = build_units(config), build_units(config)
    save_units(trained, tmp_path / "trained")
    load_unit_weights(fresh, tmp_path / "trained")
    for name, tensor in trained.state_dict().items():  # but for what tells the units of its teacher
        assert torch.equal(tensor, fresh.state_dict()[name]) != name.startswith("head.2."), name
    wider = build_units(parse_units(CONFIG | {"num_targets": 9}))
    with pytest.raises(UserError, match=r"another config \(num_targets\)"):
        load_unit_weights(wider, tmp_path / "trained")
    with pytest.raises(UserError, match="of kind masked, not features: start from one like it"):
        load_unit_weights(_teacher(), tmp_path / "trained")


def test_a_codebook_of_latents_that_training_does_not_see_is_left(tmp_path):
    clustered = build_units(parse_units(CONFIG | {"normalise_latents": True, "compensate_latents": True}))
    save_units(clustered, tmp_path)
    again = build_units(parse_units(CONFIG))
    before = {name: tensor.clone() for name, tensor in again.quantizer.state_dict().items()}
    load_unit_weights(again, tmp_path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in again.quantizer.state_dict().items())
    assert torch.equal(again.encoder.state_dict()["stand_in"], clustered.encoder.state_dict()["stand_in"])


def _masked(**settings) -> MaskedUnits:
    torch.manual_seed(0)
    model = build_units(parse_units(CONFIG | settings))
    assert isinstance(model, MaskedUnits)
    return model


def _posterior_roots(model, speech, *, smooth: bool, centre: bool) -> torch.Tensor:
    """The definition, moment by moment."""
    logits = model.head(model.encoder(model.features(speech)))[0].double()
    posteriors = []
    for moment in logits.T - (logits.mean(1) if centre else 0):
        raised = [math.exp(float(value) / 2) for value in moment]
        posteriors.append([value / sum(raised) for value in raised])
    if smooth:
        padded = [posteriors[0], *posteriors, posteriors[-1]]
        posteriors = [
            [a / 4 + b / 2 + c / 4 for a, b, c in zip(*three, strict=True)]
            for three in zip(padded, padded[1:], padded[2:], strict=False)
        ]
    return torch.tensor(posteriors).sqrt().T


@pytest.mark.parametrize(("smooth", "centre"), [(False, False), (True, False), (False, True), (True, True)])
@torch.no_grad()
def test_posterior_latents_are_roots_of_how_likely_the_units_of_the_teacher_are(smooth, centre):
    model = _masked(posterior_temperature=2.0, smooth_latents=smooth, normalise_latents=centre).eval()
    torch.nn.init.normal_(model.get_parameter("head.2.weight"), std=3.0)
    speech = _speech(1)
    latents = model.latents(speech)
    assert latents.shape == (1, 8, 40) and latents.std() > 0.05
    torch.testing.assert_close(latents[0], _posterior_roots(model, speech, smooth=smooth, centre=centre))
    assert model.embeddings(model.units(speech)).shape == latents.shape


def test_posterior_latents_hang_on_no_padding():
    model = _masked(posterior_temperature=2.0, normalise_latents=True).eval()
    speech = _speech(2)
    padded = torch.nn.functional.pad(speech, (0, speech.shape[2]))
    mask = torch.zeros(2, padded.shape[2], dtype=torch.bool)
    mask[:, : speech.shape[2]] = True
    alone = model.latents(speech)[..., :36]  # the last four hear where the speech ends, and so, a little, does the mean
    among, unaware = model.latents(padded, mask=mask)[..., :36], model.latents(padded)[..., :36]
    assert (among - alone).abs().max() < 0.005 < 0.02 < (unaware - alone).abs().max()


def test_smoothed_posteriors_hang_on_no_padding_either():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 8, 12, generator=generator)
    real = torch.arange(12) < torch.tensor([[12], [7]])
    other = torch.where(real[:, None], logits, 5 * torch.randn(2, 8, 12, generator=generator))
    model = _masked(posterior_temperature=2.0, smooth_latents=True, normalise_latents=True).eval()
    one, same = model._prepared(logits, real), model._prepared(other, real)
    torch.testing.assert_close(one[0], same[0])
    torch.testing.assert_close(one[1, :, :7], same[1, :, :7])
    torch.testing.assert_close(one[1:, :, :7], model._prepared(logits[1:, :, :7], None))


def test_while_it_learns_its_codebook_follows_the_posteriors_and_teaches_nothing():
    model = _masked(posterior_temperature=2.0)
    task = UnitTask(model, WEIGHTS, teacher=_teacher()).train()
    speech = _speech()
    optimizer = torch.optim.AdamW([p for p in task.parameters() if p.requires_grad], 3e-3)
    for _ in range(100):
        learnt = task(speech)
        optimizer.zero_grad()
        task.total(learnt["losses"]).backward()
        optimizer.step()
    used = len(set(model.eval().units(speech).flatten().tolist()))
    assert used >= round(float(learnt["stats"]["perplexity"])) > 1
    assert not learnt["losses"]["commitment"].requires_grad


@pytest.mark.parametrize(("before", "after"), [(None, 2.0), (2.0, None), (2.0, 2.0)])
def test_a_codebook_of_posteriors_is_left_to_be_found_anew(tmp_path, before, after):
    save_units(_masked(posterior_temperature=before), tmp_path)
    again = _masked(posterior_temperature=after)
    torch.nn.init.normal_(again.get_buffer("quantizer.codebook"))
    kept = {name: tensor.clone() for name, tensor in again.quantizer.state_dict().items()}
    load_unit_weights(again, tmp_path)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in again.quantizer.state_dict().items())


@pytest.mark.parametrize("temperature", [0.0, -1.0, 1e-40, math.inf, math.nan])
def test_a_temperature_at_which_posteriors_say_nothing_is_refused(temperature):
    with pytest.raises(UserError, match="posterior_temperature"):
        parse_units(CONFIG | {"posterior_temperature": temperature})
