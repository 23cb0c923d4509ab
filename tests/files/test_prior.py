"""Claims about files coded with a prior: smaller, the same signal, and never noise where something does not fit."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from codec.checkpoint import save_model
from codec.checkpoint.prior import load_coding_prior, save_prior
from codec.cli import main
from codec.core.errors import UserError
from codec.core.grid import Grid
from codec.data.audio import read_audio
from codec.eval.codes import stored_codes
from codec.files import decode_file, encode_file, read_info
from codec.files.container import read_header
from codec.files.errors import DamagedChunkError, UnknownPriorError, WrongPriorError
from codec.files.method import Method
from codec.models.vqvae import VQVAE
from codec.priors.base import Geometry
from codec.priors.coding import CodingPrior, ContextCodingPrior
from codec.priors.context import ContextConfig, ContextPrior
from codec.priors.integer_export import to_integer
from tests.files.coding import fitted_prior
from tests.files.media import scene
from tests.files.test_round_trip import as_png, as_wav

_y, _x = np.mgrid[:120, :150]
PIXELS = np.stack([np.where((_x + _y) // 40 % 2, *colours) for colours in ((200, 60), (90, 100), (30, 220))], -1)
PIXELS = PIXELS.astype(np.uint8)


def hum(channels: int = 1) -> torch.Tensor:
    """A quarter of a second that repeats itself with every code."""
    row = 0.5 * torch.sin(2 * torch.pi * torch.arange(4000) / 16)
    return torch.stack([row, -row][:channels])


def signal_of(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1


@pytest.fixture(scope="module")
def picture_prior(image_model: VQVAE) -> CodingPrior:
    """Of the codes of `PIXELS`."""
    return fitted_prior(image_model.encode(signal_of(PIXELS)), image_model, heads=("categorical",))


@pytest.fixture(scope="module")
def sound_prior(audio_model: VQVAE) -> CodingPrior:
    return fitted_prior(audio_model.encode(hum(2)[:, None]), audio_model, heads=("categorical",))


def coded(pixels: np.ndarray, model: VQVAE, **options) -> bytes:
    out = io.BytesIO()
    encode_file(as_png(pixels), out, model, **options)
    return out.getvalue()


def shown(data: bytes, model: VQVAE, **options) -> np.ndarray:
    out = io.BytesIO()
    decode_file(io.BytesIO(data), out, model, suffix=".png", **options)
    return np.array(Image.open(out))


@pytest.mark.parametrize("num_active", [None, 1])
def test_a_prior_makes_a_picture_smaller_and_changes_nothing_else(image_model, picture_prior, num_active) -> None:
    plain = coded(PIXELS, image_model, num_active=num_active)
    smaller = coded(PIXELS, image_model, num_active=num_active, prior=picture_prior)
    assert len(smaller) < 0.85 * len(plain)
    expected = shown(plain, image_model)
    np.testing.assert_array_equal(shown(smaller, image_model, prior=picture_prior), expected)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_prior_makes_sound_smaller_and_changes_nothing_else(audio_model, sound_prior, channels) -> None:
    signals = []
    sizes = []
    for prior in ("none", sound_prior):
        data, out = io.BytesIO(), io.BytesIO()
        sizes.append(encode_file(as_wav(hum(channels), 16000), data, audio_model, prior=prior).bytes)
        decode_file(io.BytesIO(data.getvalue()), out, audio_model, prior=prior)
        out.seek(0)
        signals.append(read_audio(out)[0])
    assert sizes[1] < sizes[0]
    torch.testing.assert_close(signals[1], signals[0], rtol=0, atol=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (65, 3), (64, 64)])
def test_pictures_of_any_size_come_back(image_model, picture_prior, size) -> None:
    pixels = scene(*size)
    data = coded(pixels, image_model, prior=picture_prior)
    np.testing.assert_array_equal(
        shown(data, image_model, prior=picture_prior), shown(coded(pixels, image_model), image_model)
    )


def test_a_file_tells_its_prior(image_model, picture_prior) -> None:
    data = coded(PIXELS, image_model, prior=picture_prior)
    info, plain = read_info(io.BytesIO(data)), read_info(io.BytesIO(coded(PIXELS, image_model)))
    assert (info.version, info.prior, info.prior_fingerprint) == (2, "by-heart", "c" * 16)
    assert info.predicted_chunks == info.num_chunks == 6
    assert (plain.version, plain.prior, plain.predicted_chunks) == (1, None, 0)


def test_a_prior_that_does_not_help_leaves_the_file_as_it_was(image_model) -> None:
    torch.manual_seed(0)
    config = ContextConfig.model_validate({"groups": ({"codebooks": 2},)})
    prior = ContextPrior(config, Geometry(ndim=2, level=Grid.of(image_model.levels[0])))
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    bad = to_integer(prior)
    bad.model_fingerprint = image_model.fingerprint
    assert coded(PIXELS, image_model, prior=bad) == coded(PIXELS, image_model)


def test_a_chunk_that_the_prior_knows_nothing_of_is_coded_without(image_model, picture_prior) -> None:
    pixels = PIXELS.copy()
    pixels[:64, :64] = np.random.default_rng(0).integers(0, 256, (64, 64, 3))
    data = coded(pixels, image_model, prior=picture_prior)
    methods = [stored.method for stored in read_header(io.BytesIO(data)).chunks]
    assert methods[0] is not Method.PREDICTED
    assert Method.PREDICTED in methods
    np.testing.assert_array_equal(
        shown(data, image_model, prior=picture_prior), shown(coded(pixels, image_model), image_model)
    )


def test_a_prior_of_another_model_is_refused_when_encoding(image_model, picture_prior) -> None:
    other = to_integer_copy(picture_prior, model_fingerprint="d" * 16)
    with pytest.raises(WrongPriorError, match=r"fingerprint d{16}.*--prior none") as caught:
        coded(PIXELS, image_model, prior=other)
    assert "\n" not in str(caught.value)


def to_integer_copy(prior: CodingPrior, **names: str) -> CodingPrior:
    """The same integers under other names."""
    copy = ContextCodingPrior(prior.config, prior.geometry)
    copy.load_state_dict(prior.state_dict())
    for name in ("name", "fingerprint", "model_fingerprint"):
        setattr(copy, name, names.get(name, getattr(prior, name)))
    return copy


def test_a_file_is_not_decoded_with_another_prior_or_without(image_model, picture_prior) -> None:
    data = coded(PIXELS, image_model, prior=picture_prior)
    other = to_integer_copy(picture_prior, fingerprint="e" * 16)
    forged = to_integer_copy(picture_prior, model_fingerprint="f" * 16)
    for prior, error, words in (
        (other, WrongPriorError, "e{16}.*--prior"),
        (forged, WrongPriorError, "not for the codes"),
        ("auto", UnknownPriorError, "by-heart.*--prior"),
        ("none", UnknownPriorError, "by-heart.*--prior"),
    ):
        with pytest.raises(error, match=words) as caught:
            shown(data, image_model, prior=prior)
        assert "\n" not in str(caught.value)


def test_damage_to_one_chunk_costs_that_chunk_only(image_model, picture_prior) -> None:
    data = coded(PIXELS, image_model, prior=picture_prior)
    contents = read_header(io.BytesIO(data))
    whole = shown(data, image_model, prior=picture_prior)
    for index, (offset, stored) in enumerate(zip(contents.offsets, contents.chunks, strict=True)):
        broken = bytearray(data)
        broken[offset + 4 + stored.length // 2] ^= 0x10
        with pytest.raises(DamagedChunkError):
            shown(bytes(broken), image_model, prior=picture_prior)
        out = io.BytesIO()
        report = decode_file(
            io.BytesIO(broken), out, image_model, prior=picture_prior, suffix=".png", skip_damaged=True
        )
        rest, (damage,) = np.array(Image.open(out)), report.damage
        rows, columns = contents.header.target(index)
        assert (np.abs(rest[rows, columns].astype(int) - 128) <= 1).all()
        affected = tuple(
            slice(int(start), int(stop))
            for start, stop in zip(damage.affected_start, damage.affected_stop, strict=True)
        )
        elsewhere = (rest != whole).any(-1)
        elsewhere[affected] = False
        assert not elsewhere.any()


def test_a_cut_file_is_an_error_and_its_start_can_be_had(image_model, picture_prior) -> None:
    data = coded(PIXELS, image_model, prior=picture_prior)
    first = read_header(io.BytesIO(data)).offsets[2]
    for length in (*range(0, 60, 7), first, len(data) - 1):
        with pytest.raises(UserError):
            shown(data[:length], image_model, prior=picture_prior)
    rest = shown(data[:first], image_model, prior=picture_prior, skip_damaged=True)
    np.testing.assert_array_equal(rest[:32, :32], shown(data, image_model, prior=picture_prior)[:32, :32])


def test_the_codes_in_a_file_can_be_read(tmp_path: Path, image_model, picture_prior) -> None:
    (tmp_path / "a.vqc").write_bytes(coded(PIXELS, image_model, prior=picture_prior))
    (stored,) = stored_codes(tmp_path / "a.vqc", image_model, prior=picture_prior)
    (codes,) = image_model.encode(signal_of(PIXELS))
    torch.testing.assert_close(stored, codes, rtol=0, atol=0)


def test_a_saved_prior_is_the_same_after_loading(tmp_path: Path, picture_prior) -> None:
    fingerprint = save_prior(picture_prior, tmp_path / "mine", model_fingerprint="a" * 16)
    for place in (tmp_path / "mine", tmp_path / "mine" / "prior.safetensors"):
        loaded = load_coding_prior(place)
        assert (loaded.name, loaded.fingerprint, loaded.model_fingerprint) == ("mine", fingerprint, "a" * 16)
        for key, tensor in loaded.state_dict().items():
            assert torch.equal(tensor, picture_prior.state_dict()[key]) and not tensor.is_floating_point()


def test_a_prior_that_is_not_of_integers_is_refused(tmp_path: Path, image_model) -> None:
    config = ContextConfig.model_validate({"groups": ({"codebooks": 2},)})
    prior = ContextPrior(config, Geometry(ndim=2, level=Grid.of(image_model.levels[0])))
    save_prior(prior, tmp_path / "floats", model_fingerprint=image_model.fingerprint)
    with pytest.raises(UserError, match="no integers to code with: run codec train RECIPE --stage prior"):
        coded(PIXELS, image_model, prior=str(tmp_path / "floats"))
    with pytest.raises(UserError, match="no prior"):
        coded(PIXELS, image_model, prior=str(tmp_path / "nowhere"))


def test_a_prior_of_fewer_codes_than_the_model_has_is_refused(image_model, picture_prior) -> None:
    """It would code those that it knows of, and leave the others to chance."""
    config = ContextConfig.model_validate({"groups": ({"codebooks": 1},)})
    level = Grid.of(image_model.levels[0]).model_copy(update={"num_codebooks": 1})
    prior = to_integer(ContextPrior(config, Geometry(ndim=2, level=level)))
    prior.model_fingerprint = image_model.fingerprint
    with pytest.raises(WrongPriorError, match="other levels of codes"):
        coded(PIXELS, image_model, prior=prior)
    prior.fingerprint = picture_prior.fingerprint
    with pytest.raises(WrongPriorError, match="other levels of codes"):
        shown(coded(PIXELS, image_model, prior=picture_prior), image_model, prior=prior)


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch, image_model, picture_prior) -> Path:
    """A folder of pretrained models that holds the prior under the name of its model."""
    folder = tmp_path / "pretrained"
    monkeypatch.setattr("codec.checkpoint.prior.PRETRAINED", folder)
    save_prior(picture_prior, folder / image_model.name, model_fingerprint=image_model.fingerprint)
    return folder


def test_a_bundled_prior_is_used_and_found_by_itself(bundle: Path, image_model) -> None:
    data = coded(PIXELS, image_model)
    assert read_info(io.BytesIO(data)).prior == image_model.name
    plain = coded(PIXELS, image_model, prior="none")
    assert len(data) < len(plain)
    np.testing.assert_array_equal(shown(data, image_model), shown(plain, image_model))


def test_a_prior_of_the_models_name_costs_nine_bytes_of_header(bundle: Path, image_model) -> None:
    with_prior, plain = (
        read_header(io.BytesIO(coded(PIXELS[:64, :64], image_model, prior=prior))) for prior in ("auto", "none")
    )
    assert with_prior.header_bytes - plain.header_bytes <= 9


def test_a_model_of_ones_own_with_a_bundled_name_does_not_get_that_prior(bundle: Path, image_model) -> None:
    plain = coded(PIXELS, image_model, prior="none")
    before, image_model.fingerprint = image_model.fingerprint, "9" * 16
    try:
        assert read_info(io.BytesIO(coded(PIXELS, image_model))).prior is None
    finally:
        image_model.fingerprint = before
    assert coded(PIXELS, image_model, prior="none") == plain


def test_the_command_line_takes_a_prior(tmp_path: Path, monkeypatch, capsys, image_model, picture_prior) -> None:
    monkeypatch.chdir(tmp_path)
    fingerprint = save_model(image_model, "model")
    save_prior(picture_prior, "prior", model_fingerprint=fingerprint)
    Image.fromarray(PIXELS).save("photo.png")
    assert main(["encode", "photo.png", "plain.vqc", "-m", "model"]) == 0
    assert main(["encode", "photo.png", "small.vqc", "-m", "model", "--prior", "prior"]) == 0
    assert Path("small.vqc").stat().st_size < Path("plain.vqc").stat().st_size
    assert main(["decode", "small.vqc", "small.png", "-m", "model", "--prior", "prior"]) == 0
    assert main(["decode", "plain.vqc", "plain.png", "-m", "model"]) == 0
    np.testing.assert_array_equal(np.array(Image.open("small.png")), np.array(Image.open("plain.png")))
    capsys.readouterr()
    assert main(["info", "small.vqc"]) == 0
    assert "prior     prior, fingerprint" in capsys.readouterr().out
    assert main(["decode", "small.vqc", "none.png", "-m", "model"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "--prior" in said and not Path("none.png").exists()
