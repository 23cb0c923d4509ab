import shutil
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from codec.eval import RivalFailure, RivalResult, picture_codecs, picture_rivals
from codec.eval.picture_codecs import PICTURE_CODECS, nearest_quality, picture_sweep
from codec.metrics import psnr
from tests.eval.corpus import quick_codecs
from tests.metrics.signals import value
from tests.metrics.test_image import picture

HERE = [codec.name for codec in PICTURE_CODECS if codec.is_here()]


def textured(height: int = 256, width: int = 256) -> torch.Tensor:
    noise = torch.randn(3, height, width, generator=torch.Generator().manual_seed(0))
    return (picture(height, width) + 0.1 * noise).clamp(-1, 1)


@given(sizes=st.lists(st.integers(1, 10_000), min_size=95, max_size=95), wanted=st.integers(0, 11_000))
def test_the_quality_found_is_the_nearest_in_size(sizes, wanted):
    sizes = sorted(sizes)
    found = nearest_quality(lambda quality: sizes[quality - 1], wanted, lowest=1, highest=95)
    assert abs(sizes[found - 1] - wanted) == min(abs(size - wanted) for size in sizes)


def test_rivals_are_files_near_the_size_asked_for(tmp_path):
    signal = textured()
    found = picture_rivals(signal, tmp_path, num_bytes=9000)
    assert [result.name for result in found] == HERE
    for result in found:
        assert isinstance(result, RivalResult)
        assert result.num_bytes == result.path.stat().st_size == pytest.approx(9000, rel=0.15)
        assert result.signal.shape == signal.shape and value(psnr(signal, result.signal)) > 15


def test_the_quality_of_a_large_picture_is_found_on_a_part_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(picture_codecs, "_SEARCH_PIXELS", 2 * 64 * 96)
    monkeypatch.setattr(picture_codecs, "PICTURE_CODECS", quick_codecs(1, 95))
    for result in picture_rivals(textured(640, 96), tmp_path, num_bytes=9000):
        assert isinstance(result, RivalResult)
        assert result.num_bytes == pytest.approx(9000, rel=0.25)  # headers weigh more in the part


def test_a_size_that_no_quality_reaches_is_said_to_be_the_least(tmp_path):
    for result in picture_rivals(textured(64, 64), tmp_path, num_bytes=10):
        assert isinstance(result, RivalResult) and result.note == "as small as it gets"


def test_more_quality_is_more_bytes_and_less_error(tmp_path):
    signal = textured(192, 176)
    found: dict[str, list[RivalResult]] = {}
    for result in picture_sweep(signal, tmp_path):
        assert isinstance(result, RivalResult), result
        found.setdefault(result.name, []).append(result)
    assert list(found) == HERE
    for codec in PICTURE_CODECS:
        results = found.get(codec.name, [])
        assert [result.setting for result in results] in ([], [f"quality {quality}" for quality in codec.ladder])
        sizes = [result.num_bytes for result in results]
        assert sizes == sorted(sizes)
        errors = [value(psnr(signal, result.signal)) for result in results]
        assert errors[-1:] > errors[:1] or not errors


def test_a_codec_that_breaks_down_is_told_and_the_next_one_runs(tmp_path, monkeypatch):
    def broken(*arguments: object) -> float:
        raise OSError("out of order")

    jpeg, webp = PICTURE_CODECS[:2]
    monkeypatch.setattr(picture_codecs, "PICTURE_CODECS", (replace(jpeg, encode=broken), webp))
    first, second = picture_rivals(textured(64, 64), tmp_path, num_bytes=1000)
    assert first == RivalFailure("JPEG", "out of order")
    assert isinstance(second, RivalResult) and second.name == "WebP"


def test_a_picture_too_large_for_a_codec_is_its_failure(tmp_path):
    found = {result.name: result for result in picture_rivals(torch.zeros(3, 1, 16_400), tmp_path, num_bytes=1000)}
    assert isinstance(found["JPEG"], RivalResult)
    assert isinstance(found["WebP"], RivalFailure) and "16383" in found["WebP"].reason


def test_without_its_programs_there_is_no_jpeg_xl(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: None)
    assert not any(codec.is_here() for codec in PICTURE_CODECS if codec.name == "JPEG XL")


def test_bands_hold_the_rows_of_the_picture(monkeypatch):
    monkeypatch.setattr(picture_codecs, "_SEARCH_PIXELS", 8 * 64 * 3)
    signal = torch.arange(1000.0)[None, :, None].expand(3, 1000, 8)
    bands = picture_codecs._bands(signal)
    assert bands.shape == (3, 192, 8)
    assert torch.equal(bands[:, :64], signal[:, :64]) and torch.equal(bands[:, -64:], signal[:, -64:])
