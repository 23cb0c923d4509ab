"""A model on disk comes back equal; a damaged, foreign or newer file is one clear line."""

import json

import pytest
import torch
from safetensors.torch import save_file

from codec.checkpoint import list_models, list_units, load_model, save_model
from codec.checkpoint.store import read_tensors, write_tensors
from codec.checkpoint.units import load_units
from codec.checkpoint.zoo import FORMAT, MODEL_FILE, MODEL_KEY, PRETRAINED, UNITS_FILE, find_model
from codec.core.errors import UserError
from codec.models.tiny import tiny_model

KINDS = ("audio", "image")


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_codes_exactly_as_before(kind, tmp_path):
    model = tiny_model(kind)
    fingerprint = save_model(model, tmp_path / "mine", card={"licence": "CC0"})
    loaded = load_model(tmp_path / "mine", device="cpu")
    signal = torch.rand(1, model.media.channels, *(100,) * model.ndim) * 2 - 1
    codes = model.encode(signal)
    assert torch.equal(codes[0], loaded.encode(signal)[0])
    assert torch.equal(model.decode(codes), loaded.decode(codes))
    assert torch.equal(model.histogram, loaded.histogram)
    assert (loaded.name, loaded.fingerprint) == ("mine", fingerprint)
    assert not loaded.training


def test_half_precision_halves_the_parameters_and_keeps_integers(tmp_path):
    model = tiny_model("audio")
    save_model(model, tmp_path / "half", dtype=torch.float16)
    tensors, _ = read_tensors(tmp_path / "half" / MODEL_FILE)
    assert tensors["encoder.0.weight"].dtype == tensors["quantizer.stages.0.codebook"].dtype == torch.float16
    assert tensors["histogram"].dtype == torch.int64 and tensors["quantizer.stages.0.ema_counts"].dtype == torch.float32
    loaded = load_model(tmp_path / "half", device="cpu")
    ours, theirs = (x.get_parameter("encoder.0.weight") for x in (model, loaded))
    torch.testing.assert_close(theirs, ours.half().float())


def test_the_fingerprint_follows_every_weight_and_the_histogram(tmp_path):
    model = tiny_model("image")
    first = save_model(model, tmp_path / "a")
    assert save_model(model, tmp_path / "b") == first
    with torch.no_grad():
        next(model.decoder.parameters()).view(-1)[0] += 1e-3
    assert save_model(model, tmp_path / "c") != first


def test_any_flipped_byte_of_the_tensors_is_noticed(tmp_path):
    save_model(tiny_model("audio"), tmp_path / "m")
    path = tmp_path / "m" / MODEL_FILE
    content = bytearray(path.read_bytes())
    for position in range(len(content) - 1, len(content) // 3, -len(content) // 40):
        damaged = bytearray(content)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="damaged"):
            load_model(tmp_path / "m", device="cpu")


def test_truncated_foreign_newer_and_missing_models_each_say_so(tmp_path):
    save_model(tiny_model("audio"), tmp_path / "m")
    path = tmp_path / "m" / MODEL_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cannot be read"):
        load_model(tmp_path / "m", device="cpu")
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="holds no model"):
        load_model(tmp_path / "m", device="cpu")
    path.write_bytes(whole)
    tensors, header = read_tensors(path)
    write_tensors(path, tensors, header={MODEL_KEY: header[MODEL_KEY] | {"format": FORMAT + 1}})
    with pytest.raises(UserError, match="upgrade"):
        load_model(tmp_path / "m", device="cpu")
    for broken in ([1], {}, {"format": "one"}, {"format": FORMAT}):
        write_tensors(path, tensors, header={MODEL_KEY: broken})
        with pytest.raises(UserError, match=r"holds no model|without card, config, fingerprint, name"):
            load_model(tmp_path / "m", device="cpu")
    with pytest.raises(UserError, match="no model 'nowhere'"):
        load_model("nowhere", device="cpu")


def test_a_model_is_found_by_its_folder_its_run_and_its_file(tmp_path):
    best = tmp_path / "run" / "checkpoints" / "best"
    save_model(tiny_model("audio"), best, name="run")
    for place in (best, tmp_path / "run", best / MODEL_FILE):
        assert find_model(place) == best / MODEL_FILE
    assert load_model(tmp_path / "run", device="cpu").name == "run"


def test_nothing_on_disk_is_a_pickle(tmp_path):
    save_model(tiny_model("audio"), tmp_path / "m")
    size = int.from_bytes((tmp_path / "m" / MODEL_FILE).read_bytes()[:8], "little")
    header = json.loads((tmp_path / "m" / MODEL_FILE).read_bytes()[8 : 8 + size])
    assert MODEL_KEY in header["__metadata__"]


@pytest.mark.parametrize("card", [*list_models(), *list_units()], ids=lambda card: card.name)
def test_every_bundled_model_has_a_card_and_fits_in_30_mb(card):
    assert card.bytes < 30e6
    assert {"description", "data", "licence", "cost", "measured"} <= card.facts.keys()
    assert (PRETRAINED / card.name / "README.md").exists()


def test_every_bundled_folder_is_listed():
    assert {path.name for path in PRETRAINED.iterdir()} == {card.name for card in [*list_models(), *list_units()]}


@pytest.mark.parametrize("card", list_units(), ids=lambda card: card.name)
def test_bundled_units_load_and_write_speech_down(card):
    model = load_units(card.name, device="cpu")
    assert model.fingerprint == card.fingerprint
    units = model.units(torch.zeros(1, 1, 10 * model.config.downsample_factor))
    assert units.shape == (1, 10) and 0 <= int(units.min()) <= int(units.max()) < model.codebook_size


@pytest.mark.parametrize("name", [card.name for card in list_models()])
def test_every_bundled_codec_loads_and_gives_back_as_much_as_it_got(name):
    model = load_model(name, device="cpu")
    signal = torch.zeros(1, model.media.channels, *(500,) * model.ndim)
    assert model.decode(model.encode(signal), size=tuple(signal.shape[2:])).shape == signal.shape


def test_a_model_for_another_command_is_named_as_such():
    with pytest.raises(UserError, match=r"is a model for codec units encode, not for this"):
        find_model("speech-units-50hz")
    with pytest.raises(UserError, match=r"is a model for codec encode, not for this"):
        find_model("speech-16k", UNITS_FILE)
