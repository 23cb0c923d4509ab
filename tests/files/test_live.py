"""Claims about streams: however sound is cut into blocks, its codes and its signal are those of the whole."""

from __future__ import annotations

import io
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.core.errors import UserError
from codec.files import encode_file
from codec.files.errors import EmptyFileError, WrongMediaError
from codec.files.live import LiveDecoder, LiveEncoder, encode_batch
from codec.files.recording import record, replay
from codec.models import CodecModel
from codec.models.latency import latency
from codec.models.media import AudioMedia
from codec.models.tiny import tiny_model
from codec.models.vqvae import VQVAE
from tests.files.coding import fitted_prior
from tests.files.media import scene, tone
from tests.files.test_round_trip import as_png, as_wav
from tests.files.test_splice import again
from tests.models.kinds import CONFIGS, random_signal, seasoned

SOUND = [name for name, config in CONFIGS.items() if isinstance(config.media, AudioMedia)]
EXTRA = {"sound-attention": CONFIGS["attention"].model_copy(update={"media": AudioMedia(sample_rate=16000)})}
every_model = pytest.mark.parametrize("name", [*SOUND, *EXTRA])


@cache
def model_of(name: str) -> CodecModel:
    return seasoned({**CONFIGS, **EXTRA}[name])


def blocks_of(whole: torch.Tensor, data: st.DataObject, longest: int) -> list[torch.Tensor]:
    """`whole` `[..., n]` in blocks of random lengths, some of them empty."""
    lengths = data.draw(st.lists(st.integers(0, longest), max_size=12))
    cuts = torch.tensor([0, *lengths]).cumsum(0).clamp_max(whole.shape[-1]).tolist()
    pairs = zip(cuts, [*cuts[1:], whole.shape[-1]], strict=True)
    return [whole[..., start:stop] for start, stop in pairs]


def streamed_codes(encoder: LiveEncoder, blocks: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    state, parts = encoder.start(), []
    for block in blocks:
        codes, state = encoder.feed(state, block)
        parts.append(codes)
    parts.append(encoder.finish(state))
    return tuple(torch.cat(level, -1) for level in zip(*parts, strict=True))


@every_model
@settings(max_examples=15)
@given(st.data())
def test_codes_and_signal_of_a_stream_are_those_of_the_whole(name: str, data: st.DataObject) -> None:
    model = model_of(name)
    reach = 4 * model.config.chunk * model.downsample_factor
    signal = random_signal(model, data.draw(st.integers(1, reach)))
    active = data.draw(st.sampled_from(model.rates))
    whole = model.encode(signal, num_active=active)
    encoder = LiveEncoder.of(model, num_active=active)
    codes = streamed_codes(encoder, blocks_of(signal[0], data, reach // 2))
    for got, wanted in zip(codes, whole, strict=True):
        assert torch.equal(got, wanted)

    decoder = LiveDecoder.of(model)
    levels = codes[: data.draw(st.integers(1, len(codes)))]
    state, parts, done = decoder.start(), [], 0
    ratios = [level.shape[-1] // levels[0].shape[-1] for level in levels]
    for block in blocks_of(levels[0], data, 2 * model.config.chunk):
        stop = done + block.shape[-1]
        pairs = zip(levels, ratios, strict=True)
        part, state = decoder.feed(state, tuple(level[..., done * ratio : stop * ratio] for level, ratio in pairs))
        parts.append(part)
        done = stop
    parts.append(decoder.finish(state))
    assert torch.equal(torch.cat(parts, -1), model.decode(levels)[0])


def test_a_state_may_be_used_twice_and_blocks_may_be_overwritten() -> None:
    model = model_of("spectral")
    encoder = LiveEncoder.of(model)
    cell = model.config.chunk * model.downsample_factor
    signal = random_signal(model, 3 * cell)[0]
    buffer = signal[:, :cell].clone()
    _, before = encoder.feed(encoder.start(), buffer)
    buffer.zero_()
    once, again = (encoder.feed(before, signal[:, cell:]) for _ in range(2))
    (first,), (second,) = (encoder.finish(state) for _, state in (once, again))
    assert torch.equal(once[0][0], again[0][0]) and torch.equal(first, second)
    assert torch.equal(torch.cat((once[0][0], first), -1), model.encode(signal[None])[0])


def test_a_stream_holds_no_more_than_a_cell_and_its_context() -> None:
    model = model_of("waveform")
    encoder, decoder = LiveEncoder.of(model), LiveDecoder.of(model)
    state, played = encoder.start(), decoder.start()
    cell = model.config.chunk * model.downsample_factor
    most = 0
    for block in random_signal(model, 12 * cell)[0].split(7, -1):
        codes, state = encoder.feed(state, block)
        _, played = decoder.feed(played, codes)
        held = sum(part.untyped_storage().nbytes() // 4 for part in state.samples.blocks)
        most = max(most, held)
        assert sum(part.shape[-1] for tape in played.codes for part in tape.blocks) <= 3 * model.config.chunk
    context = latency(model).encoder - cell
    assert most <= 2 * (cell + 2 * context + 2 * model.downsample_factor)


@every_model
def test_a_cell_comes_out_with_the_sample_that_latency_says_and_not_before(name: str) -> None:
    model = model_of(name)
    delays = latency(model)
    cell = model.config.chunk * model.downsample_factor
    worst_codes = worst_sound = 0
    encoder, decoder = LiveEncoder.of(model), LiveDecoder.of(model)
    listening, playing = encoder.start(), decoder.start()
    coded = heard = 0
    samples = random_signal(model, delays.total + 5 * cell)[0]
    for fed, sample in enumerate(samples.split(1, -1), start=1):
        codes, listening = encoder.feed(listening, sample)
        if codes[0].shape[-1]:
            worst_codes = max(worst_codes, fed - coded * model.downsample_factor)
            coded += codes[0].shape[-1]
        sound, playing = decoder.feed(playing, codes)
        if sound.shape[-1]:
            worst_sound = max(worst_sound, fed - heard)
            heard += sound.shape[-1]
    assert (worst_codes, worst_sound) == (delays.encoder, delays.total)
    assert delays.algorithmic <= delays.total <= delays.encoder + delays.decoder
    assert cell <= min(delays.encoder, delays.decoder)


@pytest.mark.parametrize(("name", "slack"), [("sound", 0), ("spectral", 1), ("causal-stereo", 1), ("waveform", 0)])
def test_the_algorithmic_latency_is_how_far_a_sample_looks_ahead_and_no_farther(name: str, slack: int) -> None:
    """By gradients, in float64, through the bare networks of one level: what is 0 is no dependency.

    A Hann window's first coefficient is 0, so that a sample may depend on one spectrum less than its window covers.
    """
    model = seasoned(CONFIGS[name]).double()
    hop, middle = model.downsample_factor, 40
    signal = random_signal(model, 2 * middle * hop).double().requires_grad_()
    latents = model.encoder(signal)  # type: ignore[operator]
    through = torch.zeros_like(latents).requires_grad_()
    decoded = model.decoder(latents.detach() + through)  # type: ignore[operator]
    ahead = []
    for position in range(middle * hop, (middle + 1) * hop):
        (pull,) = torch.autograd.grad(decoded[..., position].square().sum(), through, retain_graph=True)
        code = int(pull.abs().sum((0, 1)).nonzero().max())
        (pull,) = torch.autograd.grad(latents[..., code].square().sum(), signal, retain_graph=True)
        ahead.append(int(pull.abs().sum((0, 1)).nonzero().max()) + 1 - position)
    assert max(ahead) == latency(model).algorithmic - slack


@pytest.mark.parametrize("name", SOUND)
def test_samples_beyond_the_algorithmic_latency_change_nothing_before(name: str) -> None:
    model = model_of(name)
    ahead = latency(model).algorithmic
    signal = random_signal(model, 30 * model.downsample_factor)
    for position in range(0, signal.shape[-1] - ahead, 5):
        other = signal.clone()
        other[..., position + ahead :] = random_signal(model, signal.shape[-1] - position - ahead)
        decoded, changed = (model.decode(model.encode(sound))[..., : position + 1] for sound in (signal, other))
        assert torch.equal(decoded, changed)


def test_a_causal_model_with_one_code_in_a_chunk_waits_for_one_hop() -> None:
    config = CONFIGS["causal-stereo"].model_copy(update={"chunk": 1})
    delays, hop = latency(seasoned(config)), config.downsample_factor
    assert (delays.algorithmic, delays.encoder, delays.decoder, delays.total) == (hop, hop, hop, hop)
    assert delays.sample_rate == 16000
    with pytest.raises(UserError, match="pictures"):
        latency(tiny_model("image"))


@settings(max_examples=10)
@given(st.lists(st.integers(1, 900), min_size=1, max_size=5), st.sampled_from([None, 1]))
@every_model
def test_codes_of_recordings_of_unequal_lengths_are_those_of_each_alone(name: str, lengths, active) -> None:
    model = model_of(name)
    signals = [random_signal(model, length)[0] for length in lengths]
    batch = encode_batch(model, signals, num_active=active)
    assert len(batch) == len(signals)
    for codes, signal in zip(batch, signals, strict=True):
        for got, wanted in zip(codes, model.encode(signal[None], num_active=active), strict=True):
            assert torch.equal(got, wanted)


@settings(max_examples=15)
@given(st.data(), st.integers(1, 2), st.integers(1, 2))
def test_a_recorded_stream_is_the_encoded_file_byte_for_byte(
    audio_model: VQVAE, data: st.DataObject, channels: int, active: int
) -> None:
    signal = tone(data.draw(st.integers(1, 5000)), 16000, channels)
    blocks = blocks_of(signal, data, 2000)
    live, filed = io.BytesIO(), io.BytesIO()
    report = record(iter(blocks), live, audio_model, channels=channels, num_active=active)
    other = encode_file(as_wav(signal, 16000), filed, audio_model, num_active=active)
    assert live.getvalue() == filed.getvalue()
    assert (report.bytes, report.num_samples, report.channels) == (other.bytes, other.num_samples, other.channels)


def test_a_recorded_stream_takes_a_prior(audio_model: VQVAE) -> None:
    signal = (0.5 * torch.sin(2 * torch.pi * torch.arange(4000) / 16))[None]
    prior = fitted_prior(audio_model.encode(signal[None]), audio_model, heads=("categorical",))
    live, filed = io.BytesIO(), io.BytesIO()
    assert record(signal.split(333, -1), live, audio_model, prior=prior).prior == prior.name
    encode_file(as_wav(signal, 16000), filed, audio_model, prior=prior)
    assert live.getvalue() == filed.getvalue()


@settings(max_examples=15)
@given(st.integers(1, 5000), st.integers(1, 2), st.data())
def test_a_replayed_stretch_is_a_slice_of_the_whole(
    audio_model: VQVAE, num_samples: int, channels: int, data: st.DataObject
) -> None:
    signal, coded = tone(num_samples, 16000, channels), io.BytesIO()
    record([signal], coded, audio_model, channels=channels)
    whole = torch.cat(list(replay(again(coded), audio_model)), -1)
    rows = audio_model.encode(signal[:, None])
    assert torch.equal(whole, audio_model.decode(rows, size=(num_samples,))[:, 0])
    start = data.draw(st.integers(0, num_samples - 1))
    length = data.draw(st.integers(1, num_samples))
    part = torch.cat(list(replay(again(coded), audio_model, start_s=start / 16000, duration_s=length / 16000)), -1)
    assert torch.equal(part, whole[:, start : start + length])


def test_what_is_no_stream_of_the_model_is_refused_in_one_line() -> None:
    model = model_of("causal-stereo")
    encoder, decoder = LiveEncoder.of(model), LiveDecoder.of(model)
    codes = model.encode(random_signal(model, 100))
    _, state = decoder.feed(decoder.start(), codes)
    nan = torch.full((2, 3), torch.nan)
    for call, wanted in (
        (lambda: LiveEncoder.of(model, channels=3), "cannot take 3"),
        (lambda: LiveEncoder.of(model, num_active=9), "9 codebooks"),
        (lambda: LiveEncoder.of(tiny_model("image")), "pictures"),
        (lambda: LiveDecoder.of(tiny_model("image")), "pictures"),
        (lambda: encoder.feed(encoder.start(), torch.zeros(1, 3)), r"\[2, n\]"),
        (lambda: encoder.feed(encoder.start(), torch.zeros(2, 3, dtype=torch.int16)), "floats"),
        (lambda: encoder.feed(encoder.start(), nan), "NaN"),
        (lambda: decoder.feed(decoder.start(), ()), "0 levels"),
        (lambda: decoder.feed(state, (codes[0][:, :1],)), "this stream has"),
        (lambda: decoder.feed(state, (codes[0].repeat(2, 1, 1),)), "this stream has"),
        (lambda: decoder.feed(decoder.start(), (codes[0] + 100,)), "another model"),
    ):
        with pytest.raises(UserError, match=wanted) as caught:
            call()
        assert "\n" not in str(caught.value)
    pyramid = model_of("sound-pyramid")
    coarse, fine = pyramid.encode(random_signal(pyramid, 100))
    with pytest.raises(WrongMediaError, match="same stretch"):
        LiveDecoder.of(pyramid).feed(LiveDecoder.of(pyramid).start(), (coarse, fine[..., 1:]))


def test_nothing_is_nothing_to_code_and_leaves_no_file(tmp_path, audio_model: VQVAE) -> None:
    encoder, decoder = LiveEncoder.of(audio_model), LiveDecoder.of(audio_model)
    with pytest.raises(EmptyFileError, match="first sample"):
        encoder.finish(encoder.start())
    with pytest.raises(EmptyFileError, match="first code"):
        decoder.finish(decoder.start())
    with pytest.raises(EmptyFileError):
        record([torch.zeros(1, 0)], tmp_path / "none.vqc", audio_model)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(WrongMediaError, match="picture"):
        next(replay(again(_picture()), tiny_model("image")))


def _picture() -> io.BytesIO:
    coded = io.BytesIO()
    encode_file(as_png(scene(20, 30)), coded, tiny_model("image"))
    return coded
