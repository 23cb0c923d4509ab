"""Codecs of sound against judges: what may be asked for, and runs that resume bit for bit."""

import pytest
import torch
import yaml

from codec.checkpoint import save_model
from codec.core.config import parse_config
from codec.core.errors import UserError
from codec.data.loader import TrainingBatches
from codec.models import build_model
from codec.models.audio_codec import AudioCodec
from codec.models.build import parse_model
from codec.train.decoder_task import DecoderTask
from codec.train.sound import SoundConfig, build_sound_task, sound_task
from codec.train.sound_start import find_start
from tests.train.corpus import TINY, write_corpus
from tests.train.test_resume import assert_same_run, start, wait_for_step

START = 4
FOUGHT = {
    **TINY,
    "model": {
        "kind": "audio",
        "media": TINY["model"]["media"],
        "backend": {
            "kind": "spectral",
            "hop_length": 16,
            "window": 32,
            "width": 8,
            "encoder": [1],
            "decoder": [1],
            "kernel": 3,
        },
        **{key: TINY["model"][key] for key in ("latent_dim", "quantizer", "chunk")},
    },
    "losses": {"mel": 1.0, "complex": 1.0, "commitment": 0.25, "adversarial": 1.0, "feature_matching": 1.0},
    "adversary": {
        "start_step": START,
        "discriminator": {"windows": [64], "spectral_width": 4, "periods": [2], "period_width": 2},
        "optimizer": {"warmup_steps": 0, "learning_rate": 1e-3},
    },
    "balancer": {"norm": 1.0},
}


def _task(**changes):
    torch.manual_seed(0)
    return build_sound_task(parse_config(SoundConfig, {**FOUGHT, **changes}))


WITH_TRANSFORM = {"transform": True, "envelope_latents": 2, "compression": 0.5}


def _with_transform(tree):
    model = tree["model"]
    return {**tree, "model": {**model, "backend": {**model["backend"], **WITH_TRANSFORM}}}


@pytest.mark.parametrize("balanced", [True, False])
def test_a_run_against_judges_killed_in_mid_fight_resumes_bit_for_bit(tmp_path, balanced):
    tree = FOUGHT if balanced else _with_transform({**FOUGHT, "balancer": None})
    tree = {**tree, "data": {**TINY["data"], "train": str(write_corpus(tmp_path))}}
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(tree))
    assert start(recipe, tmp_path / "whole", name="codec_audio").wait(120) == 0
    process = start(recipe, tmp_path / "killed", name="codec_audio")
    wait_for_step(tmp_path / "killed", START + 3, process)
    process.kill()
    process.wait()
    assert start(recipe, tmp_path / "killed", "--resume", name="codec_audio").wait(120) == 0
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


def test_balanced_totals_have_the_weighted_value_and_reach_encoder_and_discriminator():
    task, plain = _task().train(), _task(balancer=None).train()
    signal = 0.1 * torch.randn(4, 1, 1024)
    totals = []
    for each in (task, plain):
        torch.manual_seed(1)
        assert each.adversary is not None
        each.adversary.begin(START)
        totals.append(each.total(each(signal)["losses"]))
    assert totals[0].item() == pytest.approx(totals[1].item(), rel=1e-5)
    totals[0].backward()
    for part in ("model.encoder", "model.decoder", "adversary"):
        parameters = task.get_submodule(part).parameters()
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in parameters)


def test_a_loss_counts_only_in_samples_with_codebooks_enough():
    task = _task(
        losses_from_codebooks={"complex": 2}, adversary=None, balancer=None, losses={"complex": 1, "commitment": 0}
    )
    signal = 0.1 * torch.randn(4, 1, 1024)
    shallow = task.eval().model(signal, num_active=1)
    assert task._reconstruction(shallow, signal, None)[0]["complex"].item() == 0
    deep = task.model(signal, num_active=2)
    plain = _task(adversary=None, balancer=None, losses={"complex": 1, "commitment": 0}).eval()
    assert torch.equal(
        task._reconstruction(deep, signal, None)[0]["complex"], plain._reconstruction(deep, signal, None)[0]["complex"]
    )
    with pytest.raises(UserError, match="names 'mse'"):
        _task(losses_from_codebooks={"mse": 2})


def test_the_scale_of_latents_does_not_decide_which_weights_are_best():
    task = _task(adversary=None, balancer=None, losses={"mel": 2.0, "complex": 1.0, "commitment": 0.5})
    losses = {"mel": torch.tensor(0.1), "complex": torch.tensor(0.2), "commitment": torch.tensor(10.0)}
    assert task.train().total(losses).item() == pytest.approx(5.4)
    assert task.eval().total(losses).item() == pytest.approx(0.4)


def test_what_does_not_go_together_is_refused_before_any_data_is_read():
    adversary = {**FOUGHT["adversary"], "adaptive": True}
    with pytest.raises(UserError, match="both weigh the adversarial loss"):
        parse_config(SoundConfig, {**FOUGHT, "adversary": adversary})
    with pytest.raises(UserError, match=r"loop\.compile forbids"):
        parse_config(SoundConfig, {**FOUGHT, "loop": {**FOUGHT["loop"], "compile": True}})
    with pytest.raises(UserError, match=r"data\.crop is 1024, .* from 2048 samples"):
        parse_config(SoundConfig, {**FOUGHT, "adversary": {"discriminator": {"windows": [2048]}}})
    with pytest.raises(UserError, match="'feature_matching' and an adversary that gives it need each other"):
        _task(losses={name: x for name, x in FOUGHT["losses"].items() if name != "feature_matching"})


def test_training_starts_from_an_exported_model_of_the_same_config_only(tmp_path):
    config = parse_model(FOUGHT["model"])
    torch.manual_seed(7)
    other = build_model(config)
    save_model(other, tmp_path)
    weights = _task(start_from=str(tmp_path)).model.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in other.state_dict().items() if "hist" not in name)
    _task(start_from=str(tmp_path), model={**FOUGHT["model"], "chunk": 9})
    with pytest.raises(UserError, match=r"another config \(latent_dim\)"):
        _task(start_from=str(tmp_path), model={**FOUGHT["model"], "latent_dim": 9})
    wider = {**FOUGHT["model"], "backend": {**FOUGHT["model"]["backend"], "width": 16}}
    with pytest.raises(UserError, match=r"\(backend.width\)"):
        _task(start_from=str(tmp_path), model=wider)


def test_a_transform_and_its_codebooks_are_found_in_the_data_before_the_first_step(tmp_path):
    tree = {**FOUGHT, "data": {**TINY["data"], "train": str(write_corpus(tmp_path))}}
    config = parse_config(SoundConfig, _with_transform(tree))
    data = TrainingBatches(config.data, config.model.media, seed=0)
    torch.manual_seed(0)
    model = build_sound_task(config).model
    signal = next(data.prefetch(100))[1].signal
    before = _correlation(model, signal)
    find_start(model, data, device=torch.device("cpu"))
    assert before < 0.2 < _correlation(model, signal)
    plain = build_sound_task(parse_config(SoundConfig, tree)).model
    untouched = {name: value.clone() for name, value in plain.state_dict().items()}
    find_start(plain, data, device=torch.device("cpu"))
    assert all(torch.equal(value, untouched[name]) for name, value in plain.state_dict().items())


@pytest.mark.parametrize(
    ("latent_dim", "envelope", "reason"),
    [(4, 4, "leave some for the waveform"), (80, 70, "its 64 mel bands"), (40, 2, "too many for spectra")],
)
def test_latents_that_no_transform_can_find_are_refused(latent_dim, envelope, reason):
    tree = _with_transform(FOUGHT)
    backend = {**tree["model"]["backend"], "envelope_latents": envelope}
    with pytest.raises(UserError, match=reason):
        parse_config(SoundConfig, {**tree, "model": {**tree["model"], "latent_dim": latent_dim, "backend": backend}})


def _correlation(model, signal):
    with torch.no_grad():
        restored = model.eval()(signal).signal
    return float(torch.nn.functional.cosine_similarity(restored.flatten(), signal.flatten(), dim=0))


def test_a_model_can_go_on_with_more_codebooks_than_it_had(tmp_path):
    tree = {**FOUGHT, "data": {**TINY["data"], "train": str(write_corpus(tmp_path))}}
    tree = _with_transform({**tree, "model": {**tree["model"], "quantizer": {"kind": "residual", "num_codebooks": 2}}})
    before = build_sound_task(parse_config(SoundConfig, tree))
    config = parse_config(SoundConfig, tree)
    data = TrainingBatches(config.data, config.model.media, seed=0)
    find_start(before.model, data, device=torch.device("cpu"))
    save_model(before.model.eval(), tmp_path / "two")
    more = {**tree["model"], "quantizer": {"kind": "residual", "num_codebooks": 3, "dropout": 0.5, "dropout_bias": 2}}
    after = build_sound_task(parse_config(SoundConfig, {**tree, "model": more, "start_from": str(tmp_path / "two")}))
    find_start(after.model, data, device=torch.device("cpu"), trained=True)
    kept = after.model.state_dict()
    assert all(bool(tensor) for name, tensor in kept.items() if name.endswith(".initialised"))
    for name, tensor in before.model.state_dict().items():
        assert name == "histogram" or torch.equal(kept[name], tensor), name
    signal = data.batch(100).signal
    errors = [float(task.model.eval()(signal).levels[0].stats["distortion"]) for task in (before, after)]
    assert errors[1] < errors[0]


SEARCHING = {"kind": "residual", "num_codebooks": 4, "dropout": 0.8, "paths": 3, "codebook": {"kind": "ema"}}


def _decoder_task():
    torch.manual_seed(0)
    tree = {key: FOUGHT[key] for key in FOUGHT if key not in ("adversary", "balancer")}
    tree |= {"model": {**FOUGHT["model"], "quantizer": SEARCHING}, "losses": {"mse": 1.0, "commitment": 0.25}}
    config = parse_config(SoundConfig, tree)
    model = build_model(config.model)
    signal = torch.randn(8, 1, 512)
    model(signal)  # fills the codebooks
    assert isinstance(model, AudioCodec)
    return sound_task(DecoderTask, model, config), model, signal


def test_a_decoder_alone_learns_from_codes_as_files_hold_them():
    task, model, signal = _decoder_task()
    with torch.no_grad():
        loss = task.eval()(signal)["losses"]["mse"]
        (codes,) = model.encode(signal)
        latents = model.quantizer.decode(codes)
        expected = (model.decoder(latents) - signal).square().mean()
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    task.total(task.train()(signal)["losses"]).backward()
    learning = {name for name, p in model.named_parameters() if p.grad is not None}
    assert learning == {name for name, _ in model.named_parameters() if name.startswith("decoder.")}
    assert not model.quantizer.training and model.decoder.training


def test_rows_have_codebooks_drawn_for_them_and_padding_has_none():
    task, model, signal = _decoder_task()
    task.train()
    mask = torch.ones(8, 512, dtype=torch.bool)
    mask[3, 256:] = False
    seen = set()
    for _ in range(10):
        codes = task._run(signal, mask).levels[0].codes
        depth = (codes[:, :, 0] >= 0).sum(1).tolist()
        for row, number in enumerate(depth):
            alone = model.quantizer.encode(model.encoder(signal[row : row + 1]), num_active=number)[0]
            real = slice(0, 16 if row == 3 else None)
            assert torch.equal(codes[row, :number, real], alone[:, real]) and (codes[row, number:] == -1).all()
        assert (codes[3, :, 16:] == -1).all()
        seen |= set(depth)
    assert seen == {1, 2, 3, 4}


def test_a_decoder_of_other_codes_does_not_learn_alone():
    config = parse_config(SoundConfig, {**TINY, "model": {**TINY["model"], "quantizer": {"kind": "ema"}}})
    with pytest.raises(UserError, match="one level of residual codes"):
        sound_task(DecoderTask, build_model(config.model), config)
