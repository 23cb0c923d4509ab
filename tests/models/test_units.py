"""What every model of units keeps: one unit for each stretch of speech, whatever the padding and on disk."""

import pytest
import torch

from codec.checkpoint.units import load_units, save_units
from codec.core.errors import UserError
from codec.models import stretches
from codec.models.build_units import UNIT_MODELS, build_units, parse_units
from codec.models.contrastive_units import ContrastiveUnits
from codec.models.units import smoothed
from codec.nn import features
from codec.quantize.kmeans import cluster
from codec.train.clusters import draw_latents, find_codebook, set_codebook
from codec.train.units import UnitTask

QUANTIZER = {"kind": "ema", "codebook_size": 5}
SMALL = {
    "features": {"features": {"kind": "mfcc"}, "stride": 2, "quantizer": QUANTIZER},
    "contrastive": {
        "features": {"kind": "log_mel", "num_mels": 20},
        "encoder": {"width": 8, "blocks": 1},
        "latent_dim": 4,
        "quantizer": QUANTIZER,
        "predictor": {"width": 8, "dilations": [1]},
        "warp": 0.1,
    },
    "masked": {
        "features": {"kind": "log_mel", "num_mels": 20},
        "encoder": {"width": 8, "blocks": 1},
        "context": {"kernel": 3, "dilations": [1], "head": [1]},
        "num_targets": 6,
        "quantizer": QUANTIZER,
    },
    "vqvae": {
        "features": {"kind": "log_mel", "num_mels": 20},
        "encoder": {"width": 8, "blocks": 1},
        "latent_dim": 4,
        "quantizer": QUANTIZER,
        "decoder": {"width": 8, "dilations": [1]},
        "speakers": ["ann", "bob"],
    },
    "waveform_vqvae": {
        "encoder": {"stages": [{"stride": 20, "width": 4}, {"stride": 16, "width": 4}]},
        "decoder": {"stages": [{"stride": 320, "width": 4, "dilations": [1]}]},
        "latent_dim": 4,
        "quantizer": QUANTIZER,
        "speakers": ["ann", "bob"],
    },
}


def _model(kind):
    torch.manual_seed(0)
    return build_units(parse_units({"kind": kind, **SMALL[kind]})).eval()


def _speech(samples, seed=0):
    return 0.1 * torch.randn(1, 1, samples, generator=torch.Generator().manual_seed(seed))


def test_every_kind_is_tried_here():
    assert {config.model_fields["kind"].default for config in UNIT_MODELS} == set(SMALL)


@pytest.mark.parametrize("kind", SMALL)
def test_there_is_a_unit_for_every_whole_stretch(kind):
    model = _model(kind)
    for samples, expected in ((320, 1), (639, 1), (640, 2), (5000, 15)):
        units = model.units(_speech(samples))
        assert units.shape == (1, expected) and units.dtype == torch.int64
        assert model.latents(_speech(samples)).shape == model.embeddings(units).shape
    assert model.frame_rate == 50


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize(("shape", "named"), [((1, 1, 319), "shorter than one unit"), ((1, 2, 640), r"\[b, 1, time\]")])
def test_what_is_no_speech_is_refused(kind, shape, named):
    with pytest.raises(UserError, match=named):
        _model(kind).units(torch.zeros(shape))


@pytest.mark.parametrize("kind", SMALL)
def test_a_saved_model_gives_the_same_units(kind, tmp_path):
    model = _model(kind)
    fingerprint = save_units(model, tmp_path / "mine")
    again = load_units(tmp_path / "mine", device="cpu")
    assert (again.name, again.fingerprint, again.config) == ("mine", fingerprint, model.config)
    assert torch.equal(again.units(_speech(5000)), model.units(_speech(5000)))


PREPARED = {"smooth_latents": True, "normalise_latents": True}
LISTENING = [(kind, {}) for kind in SMALL] + [("masked", PREPARED | {"posterior_temperature": 2.0})]


@pytest.mark.parametrize(("kind", "settings"), LISTENING)
@pytest.mark.parametrize("at_once", [1, 7, 10])
@torch.no_grad()
def test_a_long_recording_is_heard_a_stretch_at_a_time_and_that_cannot_be_told(kind, settings, at_once, monkeypatch):
    torch.manual_seed(0)
    model = build_units(parse_units({"kind": kind, **SMALL[kind], **settings})).eval()
    for parameter in model.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    speech = _speech(9000)
    whole = model.latents(speech)
    monkeypatch.setattr(stretches, "STRETCH", at_once)
    monkeypatch.setattr(features, "FRAMES_AT_ONCE", 2 * at_once + 1)
    heard = []
    model.encoder.register_forward_hook(lambda _, given, __: heard.append(given[0].shape[-1]))
    torch.testing.assert_close(model.latents(speech), whole, rtol=1e-4, atol=1e-5)
    assert len(heard) == -(-28 // at_once) and (at_once > 1 or max(heard) < sum(heard) / 5)


def test_units_are_the_nearest_of_a_codebook_that_was_set():
    model = _model("features")
    recordings = [_speech(8000, seed)[0] for seed in range(3)]
    codebook = find_codebook(draw_latents(model, recordings), 5)
    set_codebook(model, codebook)
    latents = model.latents(recordings[0][None])[0].T
    assert torch.equal(model.units(recordings[0][None])[0], torch.cdist(latents, codebook).argmin(1))


def test_clusters_apart_are_found():
    centres = 10 * torch.randn(4, 39, generator=torch.Generator().manual_seed(0))
    found = find_codebook(centres[torch.arange(40) % 4], 4)
    assert torch.cdist(found, centres).min(1).values.max() < 1e-4


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [4, 10, 20])
def test_clusters_of_few_distinct_rows_are_finite_and_miss_none_that_fits(size):
    distinct = torch.randn(10, 6, generator=torch.Generator().manual_seed(1))
    found = find_codebook(distinct.repeat(8, 1), size)
    assert found.shape == (size, 6) and bool(found.isfinite().all())
    assert size < 10 or float(torch.cdist(distinct, found).min(1).values.max()) < 1e-4


def test_clusters_are_nearer_to_what_they_are_of_than_those_that_grew_from_seeds_alone():
    generator = torch.Generator().manual_seed(0)
    blobs = 2 * torch.randn(60, 6, generator=generator)
    rows = (blobs[torch.arange(3000) % 60] + torch.randn(3000, 6, generator=generator)).float()

    def misfit(centres: torch.Tensor) -> float:
        return float(torch.cdist(rows, centres).min(1).values.square().mean())

    def grown(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        centres = cluster(rows, None, 20).centres
        for _ in range(40):
            units = torch.cdist(rows, centres).argmin(1)
            centres = torch.stack([rows[units == unit].mean(0) for unit in range(20)])
        return centres

    found, alone = (
        [misfit(find(seed)) for seed in range(5)] for find in (lambda s: find_codebook(rows, 20, seed=s), grown)
    )
    assert sum(found) < 0.99 * sum(alone)
    assert max(found) - min(found) < (max(alone) - min(alone)) / 2


def test_of_many_latents_as_many_are_drawn_from_all_recordings():
    model = _model("features")
    recordings = [_speech(3200 + 320 * seed, seed)[0] for seed in range(10)] + [_speech(100)[0]]
    every = draw_latents(model, recordings)
    assert len(every) == sum(10 + seed for seed in range(10))
    drawn = draw_latents(model, recordings, most=40)
    assert len(drawn) == 40 and torch.equal(drawn, draw_latents(model, recordings, most=40))
    assert torch.cdist(drawn, every).min(1).values.max() < 0.02
    assert len(drawn.unique(dim=0)) == 40
    late = torch.cdist(drawn, draw_latents(model, recordings[7:])).min(1).values < 0.02
    assert 5 < int(late.sum()) < 30


def test_contrastive_training_learns_to_tell_what_follows():
    torch.manual_seed(0)
    model = build_units(parse_units({"kind": "contrastive", **SMALL["contrastive"], "bottleneck": False}))
    task = UnitTask(model, {"contrastive": 1.0, "commitment": 0.1})
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    time = torch.arange(16000) / 16000
    speech = torch.sin(2 * torch.pi * (300 + 400 * torch.sin(20 * time)) * time).expand(4, 1, -1)
    losses = []
    for _ in range(40):
        outcome = task(speech)
        total = task.total(outcome["losses"])
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(float(total.detach()))
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_weights_must_be_those_of_the_model():
    with pytest.raises(UserError, match="this model has: contrastive, commitment"):
        UnitTask(_model("contrastive"), {"mse": 1.0})
    with pytest.raises(UserError, match="found by clustering"):
        UnitTask(_model("features"), {"mse": 1.0})


def test_hidden_stretches_are_the_same_whenever_a_model_is_validated():
    model = _model("masked")
    speech, targets = _speech(16000), torch.arange(50)[None] % 6
    losses = [float(model(speech, targets=targets).losses["hidden"].detach()) for _ in range(2)]
    assert losses[0] == losses[1]


def test_a_contrastive_bottleneck_predicts_latents_when_it_is_validated_too():
    """Quantized latents would repeat, and a choice between equals cannot be right."""
    torch.manual_seed(0)
    model = build_units(parse_units({"kind": "contrastive", **SMALL["contrastive"], "bottleneck": True})).eval()
    speech, seen = _speech(16000), []
    assert isinstance(model, ContrastiveUnits)
    model.forwards.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs))
    model(speech)
    past, future = seen[0][:2]
    assert torch.equal(future, model.latents(speech)) and not torch.equal(past, future)


def test_smoothing_and_normalising_are_done_to_the_latents_of_a_whole_recording():
    plain = _model("features")
    speech = _speech(6400)
    latents = plain.latents(speech)
    tree = plain.config.model_dump()
    smooth = build_units(parse_units(tree | {"smooth_latents": True})).latents(speech)
    expected = latents[..., 4] / 2 + latents[..., 3] / 4 + latents[..., 5] / 4
    torch.testing.assert_close(smooth[..., 4], expected)
    torch.testing.assert_close(smooth[..., 0], 0.75 * latents[..., 0] + 0.25 * latents[..., 1])
    both = build_units(parse_units(tree | {"smooth_latents": True, "normalise_latents": True})).latents(speech)
    assert both.mean(2).abs().max() < 1e-4
    torch.testing.assert_close(
        both, (smooth - smooth.mean(2, keepdim=True)) / smooth.std(2, unbiased=False, keepdim=True)
    )


def test_smoothing_takes_nothing_from_padding():
    latents = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
    real = torch.arange(8) < torch.tensor([[8], [5]])
    found = smoothed(latents, real)
    torch.testing.assert_close(found[:1], smoothed(latents[:1]))
    torch.testing.assert_close(found[1:, :, :5], smoothed(latents[1:, :, :5]))


def test_prepared_latents_have_a_gradient():
    model = build_units(parse_units({"kind": "contrastive", **SMALL["contrastive"], **PREPARED})).eval()
    model.latents(_speech(3200)).square().sum().backward()
    gradients = [parameter.grad for parameter in model.encoder.parameters()]
    assert all(gradient is not None and bool(gradient.isfinite().all()) for gradient in gradients)
