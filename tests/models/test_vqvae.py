"""One VQ-VAE for sound and pictures; its canonical grid changes nothing but the memory it takes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.core.errors import UserError
from codec.models import VQVAE, AudioMedia, ImageMedia, VQVAEConfig, build_model
from codec.models.tiny import tiny_config, tiny_model
from codec.nn import Backbone, Stage
from codec.quantize.build import parse_quantizer

KINDS = ("audio", "image")


@st.composite
def random_models(draw) -> VQVAE:
    """Small models of random shape: both media, strides, dilations, causal or not, chunk sizes down to one code."""
    audio = draw(st.booleans())
    stages = tuple(
        Stage(
            stride=draw(st.integers(1, 3)),
            width=4,
            dilations=tuple(draw(st.lists(st.integers(1, 3), max_size=2))),
        )
        for _ in range(draw(st.integers(1, 3)))
    )
    config = VQVAEConfig(
        media=AudioMedia(sample_rate=16000) if audio else ImageMedia(channels=1),
        encoder=Backbone(stages=stages, causal=draw(st.booleans()), activation="elu"),
        latent_dim=4,
        quantizer=parse_quantizer({"kind": "ema", "codebook_size": 16}),
        chunk=draw(st.integers(1, 9)),
    )
    torch.manual_seed(draw(st.integers(0, 99)))
    model = VQVAE(config)
    model.train()(torch.rand(2, 1, *(model.downsample_factor * 12,) * model.ndim) * 2 - 1)
    return model.eval()


@settings(max_examples=40, deadline=None)
@given(random_models(), st.data())
def test_chunked_encode_and_decode_equal_one_pass_over_the_whole_signal(model, data):
    """The raw network run once over everything, in float64 where rounding cannot flip a code, is the oracle."""
    model = model.double()
    model._to_own_device = lambda signal: signal  # keep float64 all the way
    size = tuple(data.draw(st.integers(1, 150 if model.ndim == 1 else 40)) for _ in range(model.ndim))
    signal = torch.rand(1, 1, *size, dtype=torch.float64) * 2 - 1
    (codes,) = model.encode(signal)
    padding = [side for extent in reversed(size) for side in (0, -extent % model.downsample_factor)]
    padded = torch.nn.functional.pad(signal, padding, mode="replicate")
    with torch.no_grad():
        whole = model.quantizer.encode(model.encoder(padded))
        assert torch.equal(codes, whole)
        wanted = model.decoder(model.quantizer.dequantize(whole).double())[(..., *(slice(extent) for extent in size))]
        got = _decode_in_double(model, codes, size)
    torch.testing.assert_close(got, wanted.clamp(-1, 1), rtol=0, atol=1e-12)  # float64 rounding of a few layers


def _decode_in_double(model: VQVAE, codes: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    setattr(model.quantizer, "decode", lambda c: model.quantizer.dequantize(c).double())  # noqa: B010 (pyright)
    return model.decode((codes,), size=size)


@pytest.mark.parametrize("kind", KINDS)
def test_codes_of_a_batch_are_those_of_its_rows_alone(kind):
    model = tiny_model(kind)
    signal = torch.rand(3, model.media.channels, *(70,) * model.ndim) * 2 - 1
    (together,) = model.encode(signal)
    alone = torch.cat([model.encode(row)[0] for row in signal.split(1)])
    assert torch.equal(together, alone)
    assert torch.equal(model.decode((together,)), torch.cat([model.decode((row,)) for row in together.split(1)]))


@pytest.mark.parametrize("kind", KINDS)
def test_one_position_survives_the_round_trip(kind):
    model = tiny_model(kind)
    signal = torch.full((1, model.media.channels, *(1,) * model.ndim), 0.5)
    codes = model.encode(signal)
    assert codes[0].shape == (1, 2, *(1,) * model.ndim)
    assert model.decode(codes, size=(1,) * model.ndim).shape == signal.shape


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_active_codebooks_are_a_prefix_and_decode(kind):
    model = tiny_model(kind)
    signal = torch.rand(1, model.media.channels, *(64,) * model.ndim) * 2 - 1
    (all_codes,), (one,) = model.encode(signal), model.encode(signal, num_active=1)
    assert one.shape[1] == 1 and torch.equal(one, all_codes[:, :1])
    assert model.decode((one,)).shape == signal.shape


@pytest.mark.parametrize("kind", KINDS)
def test_training_reaches_every_parameter_of_encoder_and_decoder(kind):
    model = build_model(tiny_config(kind)).train()
    result = model(torch.rand(2, model.media.channels, *(64,) * model.ndim) * 2 - 1)
    (result.signal.square().mean() + result.levels[0].losses["commitment"]).backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not without


def test_padding_is_invisible_to_the_quantizer_of_a_masked_batch():
    config = tiny_config("audio")
    torch.manual_seed(0)
    first, second = VQVAE(config), VQVAE(config)
    second.load_state_dict(first.state_dict())
    signal = torch.rand(2, 1, 512) * 2 - 1
    mask = torch.ones(2, 512, dtype=torch.bool)
    mask[1, 256:] = False
    losses = []
    for model, noise in ((first, 0.0), (second, 1.0)):
        latents = model.encoder(signal.masked_fill(~mask.unsqueeze(1), 0.0))
        latents[1, :, 16:] += noise
        torch.manual_seed(1)
        losses.append(
            model.quantizer.train()(latents, mask=model.level_mask(mask, model.downsample_factor)).losses["commitment"]
        )
    assert torch.equal(losses[0], losses[1])
    for a, b in zip(first.quantizer.buffers(), second.quantizer.buffers(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("shape", "said"),
    [((1, 1), "wants"), ((1, 2, 100), "2 channels"), ((1, 1, 0), "empty"), ((1, 1, 8, 8), "wants")],
)
def test_a_signal_of_the_wrong_shape_is_one_clear_line(shape, said):
    with pytest.raises(UserError, match=said):
        tiny_model("audio").encode(torch.zeros(shape))


def test_codes_of_another_model_are_refused():
    model = tiny_model("audio")
    with pytest.raises(UserError, match="another model"):
        model.decode((torch.full((1, 2, 4), 32),))
    with pytest.raises(UserError, match="codebooks"):
        model.decode((torch.zeros(1, 3, 4, dtype=torch.int64),))
    with pytest.raises(UserError, match="want"):
        model.decode((torch.zeros(1, 2, 4, dtype=torch.int64),), size=(1000,))


def test_an_encoder_and_decoder_that_disagree_are_refused():
    config = tiny_config("audio").model_copy(update={"decoder": Backbone(stages=(Stage(stride=3, width=4),))})
    with pytest.raises(UserError, match="strides"):
        build_model(config)


def test_codes_that_no_file_can_hold_are_refused():
    quantizer = parse_quantizer({"kind": "fsq", "levels": [8] * 7})
    with pytest.raises(UserError, match=r"2097152 values.*grouped"):
        build_model(tiny_config("image").model_copy(update={"quantizer": quantizer}))


def test_frame_rate_is_hertz_and_only_for_sound():
    assert tiny_model("audio").frame_rate == 1000.0
    with pytest.raises(UserError, match="pictures"):
        _ = tiny_model("image").frame_rate
