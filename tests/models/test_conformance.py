"""What files, evaluation and training rely on, for every registered kind of model."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.checkpoint import load_model, save_model
from codec.core.errors import UserError
from codec.models import CodecModel, build_model
from codec.models.build import MODELS, parse_model
from codec.models.transform import TransformCodec
from codec.train import ReconstructionTask
from tests.models.kinds import CASES, CONFIGS, random_signal, seasoned

every_model = pytest.mark.parametrize("name", CONFIGS)


@cache
def _model(name: str) -> CodecModel:
    return seasoned(CONFIGS[name])


@cache
def _in_double(name: str, *, whole: bool) -> CodecModel:
    """The same model in float64, where rounding cannot flip a code, cut as usual or not at all."""
    model = seasoned(CONFIGS[name]).double()
    model._to_own_device = lambda signal: signal
    if whole:
        model.config = model.config.model_copy(update={"chunk": 10**6})
    return model


def test_every_registered_kind_is_tested_here():
    assert CASES.keys() == MODELS.keys()


@settings(max_examples=12, deadline=None)
@given(st.data())
@every_model
def test_codes_and_signal_of_tiles_are_those_of_one_window_over_everything(name, data):
    tiled, whole = _in_double(name, whole=False), _in_double(name, whole=True)
    longest = (40 if tiled.ndim == 1 else 16) * tiled.downsample_factor
    size = tuple(data.draw(st.integers(1, longest)) for _ in range(tiled.ndim))
    signal = random_signal(tiled, *size).double()
    codes = tiled.encode(signal)
    assert len(list(whole.encode_chunks(size))) == 1
    for got, wanted in zip(codes, whole.encode(signal), strict=True):
        assert torch.equal(got, wanted)
    for count in range(1, len(codes) + 1):
        got, wanted = (model.decode(codes, size=size, num_levels=count) for model in (tiled, whole))
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-6)  # norms inside attention are float32
        assert got.shape == signal.shape


@every_model
def test_codes_have_the_extents_that_the_format_says(name):
    model = _model(name)
    codes = model.encode(random_signal(model, 4 * model.downsample_factor + 1, batch=2))
    for level, grid in zip(codes, model.levels, strict=True):
        extent = 5 * model.downsample_factor // grid.downsample_factor
        assert level.shape == (2, grid.num_codebooks, *(extent,) * model.ndim)
        assert int(level.min()) >= 0 and int(level.max()) < grid.codebook_size
    factors = [grid.downsample_factor for grid in model.levels]
    assert factors == sorted(factors, reverse=True) and factors[0] == model.downsample_factor


@every_model
def test_codes_of_a_batch_are_those_of_its_rows_alone(name):
    model = _model(name)
    signal = random_signal(model, 3 * model.downsample_factor + 2, batch=2)
    together, alone = model.encode(signal), [model.encode(row) for row in signal.split(1)]
    for level, rows in zip(together, zip(*alone, strict=True), strict=True):
        assert torch.equal(level, torch.cat(rows))


@every_model
def test_one_position_survives_the_round_trip(name):
    model = _model(name)
    signal = random_signal(model, 1)
    decoded = model.decode(model.encode(signal), size=(1,) * model.ndim)
    assert decoded.shape == signal.shape and float(decoded.abs().max()) <= 1


@every_model
def test_fewer_active_codebooks_are_a_prefix_of_the_first_level_and_decode(name):
    model = _model(name)
    signal = random_signal(model, 2 * model.downsample_factor)
    fewest = model.rates[0]
    every, few = model.encode(signal), model.encode(signal, num_active=fewest)
    assert all(level.shape[1] == fewest for level in few)
    # every rate of a transform codec rounds by steps of its own, and several paths are searched for every depth anew
    if not isinstance(model, TransformCodec) and getattr(model.quantizers[0], "paths", 1) == 1:
        assert torch.equal(few[0], every[0][:, :fewest])
    assert model.decode(few).shape == signal.shape
    most = max(grid.num_codebooks for grid in model.levels)
    with pytest.raises(UserError, match=f"{most + 1}"):
        model.encode(signal, num_active=most + 1)


@every_model
def test_every_prefix_of_levels_decodes_and_nothing_else_does(name):
    model = _model(name)
    signal = random_signal(model, 2 * model.downsample_factor)
    codes = model.encode(signal)
    for count in range(1, len(codes) + 1):
        assert torch.equal(model.decode(codes[:count]), model.decode(codes, num_levels=count))
    for wrong in ((), (*codes, codes[0])):
        with pytest.raises(UserError, match=f"1 to {len(codes)}"):
            model.decode(wrong)
    with pytest.raises(UserError, match="want"):
        model.decode((*codes[:-1], codes[-1][..., :1]), size=tuple(signal.shape[2:]))
    with pytest.raises(UserError, match="another model"):
        model.decode((*codes[:-1], codes[-1] + model.levels[-1].codebook_size))


@every_model
def test_training_reaches_every_parameter_and_names_its_losses(name):
    torch.manual_seed(0)
    config = CONFIGS[name]
    if "level_dropout" in type(config).model_fields:
        config = config.model_copy(update={"level_dropout": 0.0})
    model = build_model(config).train()
    result = model(random_signal(model, 8 * model.downsample_factor, batch=2))
    assert result.signal.shape == (2, model.media.channels, *result.outputs.shape[2:])
    assert result.outputs.shape[1] == model.num_outputs
    losses = [loss for level in result.levels for loss in level.losses.values()]
    assert {key for level in result.levels for key in level.losses} == set(model.loss_names)
    (result.outputs.square().mean() + sum(losses)).backward()
    assert not [key for key, parameter in model.named_parameters() if parameter.grad is None]


@every_model
def test_padding_is_invisible(name):
    """Two batches that differ in padding only leave the same losses and the same quantizers behind."""
    config, outcomes = CONFIGS[name], []
    for noise in (0.0, 1.0):
        torch.manual_seed(0)
        model = build_model(config).train()
        extent = 8 * model.downsample_factor
        mask = torch.zeros(2, *(extent,) * model.ndim, dtype=torch.bool)
        mask[0], mask[1, : extent // 2] = True, True
        signal = random_signal(model, extent, batch=2).masked_fill(~mask.unsqueeze(1), 0.0)
        hooks = [
            quantizer.register_forward_pre_hook(_with_noise_outside(noise), with_kwargs=True)
            for quantizer in model.quantizers
        ]
        torch.manual_seed(1)
        result = model(signal, mask=mask)
        assert hooks and not any(torch.isnan(loss) for level in result.levels for loss in level.losses.values())
        outcomes.append([*(b for q in model.quantizers for b in q.buffers()), *result.levels[0].losses.values()])
    assert all(torch.equal(a, b) for a, b in zip(*outcomes, strict=True))


def _with_noise_outside(noise: float):
    def hook(_, args, kwargs):
        (latents,) = args
        outside = ~kwargs["mask"].unsqueeze(1)
        return (latents + noise * outside,), kwargs

    return hook


@every_model
def test_a_saved_model_gives_the_same_codes_and_signal(name, tmp_path):
    model = _model(name)
    save_model(model, tmp_path)
    loaded = load_model(tmp_path, device="cpu")
    assert loaded.config == model.config and loaded.levels == model.levels
    signal = random_signal(model, 3 * model.downsample_factor)
    codes = model.encode(signal)
    assert all(torch.equal(a, b) for a, b in zip(codes, loaded.encode(signal), strict=True))
    assert torch.equal(model.decode(codes), loaded.decode(codes))
    for histogram, grid in zip(loaded.code_histograms(), loaded.levels, strict=True):
        assert histogram.shape == (grid.num_codebooks, grid.codebook_size) and int(histogram.min()) >= 1


@every_model
def test_a_few_steps_lower_the_loss(name):
    torch.manual_seed(0)
    model = build_model(CONFIGS[name])
    task = ReconstructionTask(model, {"mse": 1.0} | dict.fromkeys(model.loss_names, 0.25)).train()
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-2)
    ramp = torch.linspace(-0.8, 0.8, 8 * model.downsample_factor)
    signal = (ramp if model.ndim == 1 else ramp[:, None] * ramp).expand(
        2, model.media.channels, *(len(ramp),) * model.ndim
    )
    errors = []
    for _ in range(40):
        outcome = task(signal)
        task.total(outcome["losses"]).backward()
        optimizer.step()
        optimizer.zero_grad()
        errors.append(outcome["losses"]["mse"].item())
    assert min(errors[-5:]) < 0.8 * errors[0]


def test_a_config_without_a_kind_is_a_vq_vae_and_an_unknown_kind_is_refused():
    tree = CONFIGS["picture"].model_dump(mode="json")
    assert parse_model({key: value for key, value in tree.items() if key != "kind"}) == CONFIGS["picture"]
    with pytest.raises(UserError, match=r"kind 'vae'.*'vqvae', 'vqvae2'"):
        parse_model({**tree, "kind": "vae"})
