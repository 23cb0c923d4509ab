from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from codec.core.errors import UserError
from codec.data.image import image_size, read_image, read_pixels, write_image
from tests.data.makers import same, write_picture


def to_signal(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.astype(np.float32) / np.float32(127.5) - 1).permute(2, 0, 1)


pictures = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9).map(lambda s: (*s, 3)))


@settings(deadline=None)
@given(pictures)
def test_eight_bit_pixels_survive_reading_and_writing(pixels: np.ndarray) -> None:
    file = io.BytesIO()
    write_image(file, to_signal(pixels), image_format="PNG")
    assert np.array_equal(np.array(Image.open(file)), pixels)
    file.seek(0)
    assert same(read_image(file).signal, to_signal(pixels))


def test_a_single_pixel_is_a_picture(tmp_path: Path) -> None:
    pixels = write_picture(tmp_path / "a.png", 1, 1)
    assert same(read_image(tmp_path / "a.png").signal, to_signal(pixels))


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK"])
def test_every_eight_bit_mode_reads_as_its_rgb(tmp_path: Path, mode: str) -> None:
    write_picture(tmp_path / "rgb.png", 9, 7)
    image = Image.open(tmp_path / "rgb.png").convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(path)
    picture = read_image(path)
    assert picture.mode == mode and picture.is_grey == (mode in ("L", "1", "LA"))
    assert same(picture.signal, to_signal(np.array(image.convert("RGB"))))
    assert (picture.alpha is not None) == (mode in ("LA", "RGBA"))
    assert (picture.height, picture.width) == (7, 9) == image_size(path)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_grey_keeps_sixteen_bits(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 1, 255, 256], [32767, 32768, 65534, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"a{suffix}")
    picture = read_image(tmp_path / f"a{suffix}")
    assert picture.bit_depth == 16 and picture.is_grey
    back = (picture.signal[0].double() + 1) * 32767.5
    assert np.abs(back.numpy() - values).max() < 0.01  # float32 holds 16 bits with 8 to spare
    assert read_pixels(tmp_path / f"a{suffix}", channels=1)[1, 3, 0] == 255


def test_sixteen_bit_colour_reads_within_one_of_256_steps(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (5, 6, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", 6, 5, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    packed = [struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    exact = torch.from_numpy(values.astype(np.float32) / 32767.5 - 1).permute(2, 0, 1)
    picture = read_image(tmp_path / "a.png")
    assert float((picture.signal - exact).abs().max()) <= 2 / 255
    assert picture.bit_depth == 16 and picture.mode == "RGB"


def test_sixteen_bits_a_pixel_are_not_sixteen_a_channel(tmp_path: Path) -> None:
    masks = struct.pack("<3I", 0xF800, 0x07E0, 0x001F)
    header = struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 16, 3, 4, 0, 0, 0, 0)
    start = struct.pack("<2sIHHI", b"BM", 70, 0, 0, 66)
    (tmp_path / "a.bmp").write_bytes(start + header + masks + struct.pack("<2H", 0xF800, 0x001F))
    picture = read_image(tmp_path / "a.bmp")
    assert picture.bit_depth == 8
    assert same(picture.signal, to_signal(np.array([[[255, 0, 0], [0, 0, 255]]])))


def test_transparency_is_kept_apart_and_flattens_to_white(tmp_path: Path) -> None:
    pixels = np.array([[[255, 0, 0, 0], [0, 0, 0, 255]]], dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    picture = read_image(tmp_path / "a.png")
    assert picture.alpha is not None and picture.alpha.tolist() == [[[0.0, 1.0]]]
    assert picture.flattened()[:, 0, 0].tolist() == [1.0, 1.0, 1.0]
    assert read_pixels(tmp_path / "a.png").tolist() == [[[255, 255, 255], [0, 0, 0]]]


@pytest.mark.parametrize("mode", ["P", "RGB", "L"])
def test_a_transparent_colour_is_transparency(tmp_path: Path, mode: str) -> None:
    write_picture(tmp_path / "a.png", 4, 4, mode="RGB" if mode == "P" else mode)
    image = Image.open(tmp_path / "a.png").convert(mode)
    image.save(tmp_path / "b.png", transparency={"P": 0, "L": 7, "RGB": (1, 2, 3)}[mode])
    assert read_image(tmp_path / "b.png").alpha is not None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(tmp_path: Path, orientation: int) -> None:
    """Against the table of the EXIF standard: which corner of the stored picture is shown at the top left."""
    stored = np.zeros((16, 24, 3), dtype=np.uint8)
    stored[:8, :8] = 255  # white at the stored top left
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    shown = read_image(tmp_path / "a.png").signal[0]
    assert tuple(shown.shape) == ((16, 24) if orientation < 5 else (24, 16)) == image_size(tmp_path / "a.png")
    corners = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}
    assert shown[corners[orientation]] == 1.0
    assert sum(float(shown[y, x]) == 1.0 for y in (0, -1) for x in (0, -1)) == 1


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif"])
def test_alpha_is_written_where_it_can_be_and_laid_over_white_elsewhere(tmp_path: Path, suffix: str) -> None:
    alpha = torch.zeros(1, 16, 16)
    write_image(tmp_path / f"a{suffix}", torch.full((3, 16, 16), -1.0), alpha=alpha)
    picture = read_image(tmp_path / f"a{suffix}")
    assert float(picture.flattened().min()) > 0.95
    assert (picture.alpha is not None) == (suffix in (".png", ".webp", ".tif"))


def test_grey_is_written_as_one_channel(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", torch.zeros(3, 4, 4), grey=True)
    assert Image.open(tmp_path / "a.png").mode == "L"


def test_every_bad_picture_is_one_line_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.jpg").write_bytes(b"")
    write_picture(tmp_path / "whole.png", 64, 64)
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:4000])
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "float.tif")
    (tmp_path / "folder.png").mkdir()
    complaints = {
        "text.png": "not a picture",
        "empty.jpg": "not a picture",
        "cut.png": "damaged",
        "float.tif": "unknown range",
        "folder.png": "cannot read",
        "missing.png": "no such file",
    }
    for name, complaint in complaints.items():
        for read in (read_image, read_pixels):
            with pytest.raises(UserError, match=complaint) as error:
                read(tmp_path / name)
            assert str(tmp_path / name) in str(error.value) and "\n" not in str(error.value)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"]),
    keep=st.floats(0, 1),
    damage=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=4),
)
def test_damage_anywhere_gives_a_picture_or_one_line(name: str, keep: float, damage: list[tuple[float, int]]) -> None:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(file, name)
    content = bytearray(file.getvalue())
    for place, value in damage:
        content[int(place * len(content))] = value
    try:
        picture = read_image(io.BytesIO(content[: int(keep * len(content))]))
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert picture.signal.shape[0] == 3 and float(picture.signal.abs().max()) <= 1


@pytest.mark.parametrize("name", ["a.txt", "a", "missing/../a.pdfx"])
def test_an_unwritable_suffix_is_refused_and_nothing_is_left(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"use \.png or \.jpg"):
        write_image(tmp_path / name, torch.zeros(3, 4, 4))
    assert list(tmp_path.iterdir()) == []
