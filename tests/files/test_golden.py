"""Files written long ago still decode, and fixed signals still give the same bytes.

If a test here fails after a change or an upgrade, files in people's hands have become unreadable: undo it, or give the
new format a new version. `python -m tests.files.test_golden` writes the files anew (for a new version only).
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from codec.checkpoint.prior import load_coding_prior, save_prior
from codec.data.audio import read_audio, write_audio
from codec.data.image import read_image
from codec.files import decode_file, encode_file, read_info
from codec.files.container import read_chunk, read_header
from codec.files.method import Method
from codec.models.tiny import tiny_model
from tests.files.coding import fitted_prior
from tests.files.stand_in import pyramid
from tests.references import integer_prior as oracle

GOLDEN = Path(__file__).parent / "golden"


def sound() -> io.BytesIO:
    """Two channels of 301 samples at 8 kHz: a square and a saw, all in integers."""
    time = np.arange(301)
    rows = np.stack([np.where(time // 13 % 2, 9000, -9000), (time * 301) % 24001 - 12000])
    return _wav(torch.from_numpy(rows).float() / 32768, 8000)


def picture(*, transparent: bool) -> io.BytesIO:
    """77x51 pixels, half transparent everywhere or in a pattern."""
    y, x = np.mgrid[:51, :77]
    alpha = (x * y) % 251 if transparent else np.full_like(x, 128)
    pixels = np.stack([x * 3, y * 5, (x + y) * 2, alpha], -1).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return io.BytesIO(file.getvalue())


CASES = {"sound": ("audio", sound), "picture": ("image", lambda: picture(transparent=False))}


@pytest.mark.parametrize("name", CASES)
def test_fixed_signals_always_give_the_same_files(name: str) -> None:
    kind, source = CASES[name]
    out = io.BytesIO()
    encode_file(source(), out, pyramid(kind))
    assert out.getvalue().hex() == (GOLDEN / f"{name}.vqc").read_bytes().hex()


def test_old_sound_decodes_to_the_same_samples() -> None:
    out = io.BytesIO()
    decode_file(GOLDEN / "sound.vqc", out, pyramid("audio"))
    out.seek(0)
    signal, rate = read_audio(out)
    expected, expected_rate = read_audio(GOLDEN / "sound.wav")
    assert rate == expected_rate == 8000
    torch.testing.assert_close(signal, expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["picture", "transparent"])
def test_old_pictures_decode_to_the_same_pixels(name: str) -> None:
    out = io.BytesIO()
    decode_file(GOLDEN / f"{name}.vqc", out, pyramid("image"))
    np.testing.assert_array_equal(np.array(Image.open(out)), np.array(Image.open(GOLDEN / f"{name}.png")))


def test_transparency_of_old_pictures_is_the_originals() -> None:
    old, original = Image.open(GOLDEN / "transparent.png"), Image.open(picture(transparent=True))
    np.testing.assert_array_equal(np.array(old)[..., 3], np.array(original)[..., 3])


def test_two_levels_of_codes_share_a_chunk() -> None:
    info = read_info(GOLDEN / "picture.vqc")
    assert info.levels == (
        {"downsample_factor": 8, "codebook_size": 16, "num_active": 1},
        {"downsample_factor": 4, "codebook_size": 5, "num_active": 2},
    )
    assert info.num_chunks == 6


@pytest.mark.parametrize("step", [1, 3, 100])
@pytest.mark.parametrize("kind", ["audio", "image"])
def test_what_two_levels_decode_to_does_not_depend_on_the_chunks(kind: str, step: int) -> None:
    source = sound if kind == "audio" else lambda: picture(transparent=True)
    results = []
    for chunk_step in (4, step):
        coded, out = io.BytesIO(), io.BytesIO()
        encode_file(source(), coded, pyramid(kind, step=chunk_step))
        decode_file(io.BytesIO(coded.getvalue()), out, pyramid(kind, step=chunk_step))
        results.append(out.getvalue())
    assert results[0] == results[1]


def test_a_file_of_a_convolutional_model_decodes() -> None:
    out = io.BytesIO()
    report = decode_file(GOLDEN / "tiny.vqc", out, _tiny_of_then())
    assert (report.num_samples, report.channels, report.sample_rate) == (301, 2, 8000)


def test_a_file_coded_with_a_prior_decodes_to_the_same_pixels() -> None:
    out = io.BytesIO()
    report = decode_file(GOLDEN / "predicted.vqc", out, pyramid("image"), prior=GOLDEN)
    assert report.prior == "golden"
    np.testing.assert_array_equal(np.array(Image.open(out)), np.array(Image.open(GOLDEN / "picture.png")))


def test_a_fixed_picture_always_gives_the_same_file_with_a_prior() -> None:
    out = io.BytesIO()
    encode_file(picture(transparent=False), out, pyramid("image"), prior=GOLDEN)
    assert out.getvalue().hex() == (GOLDEN / "predicted.vqc").read_bytes().hex()
    assert len(out.getvalue()) < (GOLDEN / "picture.vqc").stat().st_size
    assert read_info(io.BytesIO(out.getvalue())).predicted_chunks == 5


def test_the_documented_decoder_reads_a_file_coded_with_a_prior() -> None:
    prior = load_coding_prior(GOLDEN)
    tensors = {key: tensor.tolist() for key, tensor in prior.state_dict().items()}
    config, geometry = prior.config.model_dump(mode="json"), prior.geometry.model_dump(mode="json")
    with open(GOLDEN / "predicted.vqc", "rb") as file:
        contents = read_header(file)
        methods = [stored.method for stored in contents.chunks]
        index = methods.index(Method.PREDICTED)
        shapes, data = contents.header.shapes(index), read_chunk(file, contents, index)
    levels = oracle.decode(data, tensors, config, geometry, shapes)
    for level, expected in zip(levels, prior.decode(data, shapes), strict=True):
        for book, places in enumerate(level[0]):
            assert {place: int(expected[(0, book, *place)]) for place in places} == places
            assert len(places) == expected[0, book].size


def _tiny_of_then():
    model = tiny_model("audio")
    model.histogram.copy_(torch.arange(64).reshape(2, 32) + 1)
    model.fingerprint = "f" * 16
    return model


def _wav(signal: torch.Tensor, sample_rate: int) -> io.BytesIO:
    file = io.BytesIO()
    write_audio(file, signal, sample_rate)
    return io.BytesIO(file.getvalue())


def _write_anew() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for name, kind, source in (
        ("sound", "audio", sound()),
        ("picture", "image", picture(transparent=False)),
        ("transparent", "image", picture(transparent=True)),
    ):
        encode_file(source, GOLDEN / f"{name}.vqc", pyramid(kind))
        suffix = ".wav" if kind == "audio" else ".png"
        decode_file(GOLDEN / f"{name}.vqc", GOLDEN / f"{name}{suffix}", pyramid(kind))
    encode_file(sound(), GOLDEN / "tiny.vqc", _tiny_of_then())
    _write_predicted()


def _write_predicted() -> None:
    model = pyramid("image", step=100)
    signal = read_image(picture(transparent=False)).signal[None]
    (chunk,) = model.encode_chunks(tuple(signal.shape[2:]))
    prior = fitted_prior(model.encode_chunk(signal, chunk), model, heads=("ordinal", "categorical"))
    save_prior(prior, GOLDEN, name="golden", model_fingerprint=model.fingerprint)
    encode_file(picture(transparent=False), GOLDEN / "predicted.vqc", pyramid("image"), prior=GOLDEN)


if __name__ == "__main__":
    _write_anew()
