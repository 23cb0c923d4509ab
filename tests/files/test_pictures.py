"""Pictures of every odd size and kind through files, by a model of one level and by a pyramid."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from codec.data.image import read_image
from codec.eval.codes import stored_codes
from codec.files import decode_file, encode_file, read_info
from codec.models import CodecModel
from codec.models.tiny import tiny_model
from tests.files.media import scene

PICTURES = {
    "1x1": ("RGB", scene(1, 1)),
    "3x1000": ("RGB", scene(3, 1000)),
    "1000x3": ("RGB", scene(1000, 3)),
    "513x257": ("RGB", scene(513, 257)),
    "grey": ("L", scene(61, 33, 1)[..., 0]),
    "grey with alpha": ("LA", scene(33, 44, 2)),
    "16-bit grey": ("I;16", scene(40, 70, 1)[..., 0].astype(np.uint16) * 257),
    "alpha": ("RGBA", scene(70, 90, 4)),
}


@pytest.fixture(scope="module", params=["image", "pyramid"])
def model(request: pytest.FixtureRequest) -> CodecModel:
    return tiny_model(request.param)


@pytest.mark.parametrize("kind", PICTURES)
def test_every_picture_comes_back_in_its_size_and_mode(kind: str, model: CodecModel, tmp_path: Path) -> None:
    mode, pixels = PICTURES[kind]
    Image.fromarray(pixels).save(tmp_path / "in.png")
    encode_file(tmp_path / "in.png", tmp_path / "a.vqc", model)
    decode_file(tmp_path / "a.vqc", tmp_path / "out.png", model)
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (pixels.shape[1], pixels.shape[0])
        assert image.mode == {"I;16": "L"}.get(mode, mode)
        if "A" in mode:
            np.testing.assert_array_equal(np.array(image)[..., -1], pixels[..., -1])


def test_sixteen_bits_of_colour_are_told_as_those_of_grey_are(model: CodecModel, tmp_path: Path) -> None:
    """Pillow writes no such colours: the chunks of the PNG are put together here."""
    values = scene(9, 14).astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    parts = ((b"IHDR", struct.pack(">IIBBBBB", 14, 9, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    (tmp_path / "in.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    report = encode_file(tmp_path / "in.png", tmp_path / "a.vqc", model)
    info = read_info(tmp_path / "a.vqc")
    assert report.notes == ("the source has 16 bits per channel: 8 come back",)
    assert (info.deep, info.grey, info.alpha) == (True, False, False)


@pytest.mark.parametrize("kind", ["1x1", "3x1000", "513x257", "alpha"])
def test_codes_in_a_file_are_those_of_the_whole_picture(kind: str, model: CodecModel, tmp_path: Path) -> None:
    Image.fromarray(PICTURES[kind][1]).save(tmp_path / "in.png")
    encode_file(tmp_path / "in.png", tmp_path / "a.vqc", model)
    whole = model.encode(read_image(tmp_path / "in.png").signal[None])
    stored = stored_codes(tmp_path / "a.vqc", model)
    assert len(stored) == len(model.levels)
    for got, wanted in zip(stored, whole, strict=True):
        assert torch.equal(got, wanted)


def test_a_file_of_a_pyramid_says_what_its_levels_are() -> None:
    model, source, coded = tiny_model("pyramid"), io.BytesIO(), io.BytesIO()
    Image.fromarray(scene(50, 70)).save(source, "png")
    source.seek(0)
    encode_file(source, coded, model)
    coded.seek(0)
    info = read_info(coded)
    assert [(level["downsample_factor"], level["codebook_size"]) for level in info.levels] == [(4, 32), (2, 16)]
    assert info.intact and info.num_chunks == 2 * 3
