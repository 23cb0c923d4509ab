import numpy as np
import pytest
import torch
from PIL import Image

from codec.core.errors import UserError
from codec.data.image import read_image, write_image
from codec.data.manifest import Entry, write_manifest
from codec.eval import grid, write_grid
from codec.eval.grid import doubling
from codec.models.tiny import tiny_model
from tests.eval.corpus import write_pictures, write_recordings
from tests.metrics.test_image import picture
from tests.models.kinds import TRANSFORM, seasoned


def cell(sheet: Image.Image, line: int, column: int, height: int, width: int) -> np.ndarray:
    left, top = grid._GAP + column * (width + grid._GAP), grid._HEADER + line * (height + grid._GAP)
    return np.asarray(sheet)[top : top + height, left : left + width]


def as_bytes(signal: torch.Tensor) -> np.ndarray:
    return ((signal.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()


def test_a_row_is_the_picture_and_what_each_prefix_of_the_levels_gives(tmp_path):
    model = tiny_model("pyramid")
    write_grid(tmp_path / "grid.png", model, write_pictures(tmp_path, 3), count=2)
    with Image.open(tmp_path / "grid.png") as sheet:
        assert sheet.size == (3 * (88 + grid._GAP) + grid._GAP, grid._HEADER + 2 * (96 + grid._GAP))
        for line in range(2):
            signal = read_image(tmp_path / f"picture-{line}.png").signal
            codes = model.encode(signal[None])
            columns = [signal, *(model.decode(codes[:depth], size=(96, 88))[0] for depth in (1, 2))]
            for column, expected in enumerate(columns):
                assert np.array_equal(cell(sheet, line, column, 96, 88), as_bytes(expected))


def test_one_level_is_shown_at_rates_that_about_double():
    assert doubling(range(1, 6)) == [1, 2, 4, 5]
    assert doubling((64, 96, 128, 160, 192, 256)) == [64, 128, 256]
    assert doubling((7,)) == [7]


def test_a_model_of_few_rates_is_shown_at_those(tmp_path):
    model = seasoned(TRANSFORM)
    write_grid(tmp_path / "grid.png", model, write_pictures(tmp_path, 1))
    signal = read_image(tmp_path / "picture-0.png").signal
    with Image.open(tmp_path / "grid.png") as sheet:
        for column, rate in enumerate(model.rates, start=1):
            expected = model.decode(model.encode(signal[None], num_active=rate), size=(96, 88))[0]
            assert np.array_equal(cell(sheet, 0, column, 96, 88), as_bytes(expected))


def test_large_pictures_show_their_middle_and_small_ones_stand_on_white(tmp_path, monkeypatch):
    monkeypatch.setattr(grid, "_SIDE", 64)
    entries = []
    for name, (height, width) in {"large": (80, 100), "small": (20, 30)}.items():
        write_image(path := tmp_path / f"{name}.png", picture(height, width))
        entries.append(Entry(path=path, kind="image"))
    write_manifest(tmp_path / "manifest.jsonl", entries)
    write_grid(tmp_path / "grid.png", tiny_model("image"), tmp_path / "manifest.jsonl")
    with Image.open(tmp_path / "grid.png") as sheet:
        large, small = (cell(sheet, line, 0, 64, 64) for line in range(2))
    assert np.array_equal(large, np.asarray(Image.open(tmp_path / "large.png"))[8:72, 18:82])
    assert np.array_equal(small[22:42, 17:47], np.asarray(Image.open(tmp_path / "small.png")))
    assert (small[:22] == 255).all() and (small[42:] == 255).all()


def test_sound_is_no_picture(tmp_path):
    with pytest.raises(UserError, match="codes sound"):
        write_grid(tmp_path / "grid.png", tiny_model("audio"), write_recordings(tmp_path))
