"""Claims about recordings and pictures through files and back."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from codec.core.errors import UserError
from codec.data.audio import audio_info, read_audio, write_audio
from codec.data.image import read_image
from codec.files import decode_file, encode_file, read_info
from codec.files.container import read_chunk, read_header
from codec.files.payload import ChunkCoder
from codec.models.vqvae import VQVAE
from tests.files.media import scene, tone


def stored_codes(data: bytes, model: VQVAE) -> list[torch.Tensor]:
    """Codes [rows, q, *space] in a file, per level, put together without the toolkit's decoder."""
    file = io.BytesIO(data)
    contents = read_header(file)
    header = contents.header
    coder = ChunkCoder([histogram.numpy() for histogram in model.code_histograms()])
    codes = torch.empty(header.rows, header.levels[0].num_active, *header.codes_size, dtype=torch.int64)
    for index in range(header.num_chunks):
        data = read_chunk(file, contents, index)
        (part,) = coder.decode(data, contents.chunks[index].method, header.shapes(index))
        codes[(..., *header.cell(index))] = torch.from_numpy(part)
    return [codes]


def as_wav(signal: torch.Tensor, sample_rate: int) -> io.BytesIO:
    file = io.BytesIO()
    write_audio(file, signal, sample_rate, subtype="FLOAT")
    file.seek(0)
    return file


def as_png(pixels: np.ndarray, **options) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, "PNG", **options)
    file.seek(0)
    return file


@given(st.integers(1, 6000), st.integers(1, 2), st.sampled_from([16000, 8000, 44100]), st.integers(1, 2))
@settings(deadline=None, max_examples=25)
def test_streamed_encode_equals_whole_encode_of_sound(
    audio_model: VQVAE, num_samples: int, channels: int, sample_rate: int, num_active: int
) -> None:
    wav, coded = as_wav(tone(num_samples, sample_rate, channels), sample_rate), io.BytesIO()
    encode_file(wav, coded, audio_model, num_active=num_active)
    wav.seek(0)
    signal, _ = read_audio(wav, sample_rate=16000)
    (whole,) = audio_model.encode(signal.unsqueeze(1), num_active=num_active)
    (stored,) = stored_codes(coded.getvalue(), audio_model)
    torch.testing.assert_close(stored, whole, rtol=0, atol=0)


@given(st.integers(1, 200), st.integers(1, 200))
@settings(deadline=None, max_examples=15)
def test_streamed_encode_equals_whole_encode_of_pictures(image_model: VQVAE, height: int, width: int) -> None:
    png, coded = as_png(scene(height, width)), io.BytesIO()
    encode_file(png, coded, image_model)
    png.seek(0)
    (whole,) = image_model.encode(read_image(png).signal.unsqueeze(0))
    (stored,) = stored_codes(coded.getvalue(), image_model)
    torch.testing.assert_close(stored, whole, rtol=0, atol=0)


@given(st.integers(1, 6000))
@settings(deadline=None, max_examples=10)
def test_decoded_sound_equals_the_models_whole_decode(audio_model: VQVAE, num_samples: int) -> None:
    wav, coded, decoded = as_wav(tone(num_samples), 16000), io.BytesIO(), io.BytesIO()
    encode_file(wav, coded, audio_model)
    decode_file(coded_again(coded), decoded, audio_model)
    signal, _ = read_audio(coded_again(decoded))
    whole = audio_model.decode(tuple(stored_codes(coded.getvalue(), audio_model)), size=(num_samples,))[0]
    torch.testing.assert_close(signal, whole, rtol=0, atol=1 / 32768)  # 16-bit output


def coded_again(file: io.BytesIO) -> io.BytesIO:
    return io.BytesIO(file.getvalue())


RECORDINGS = {
    "one sample": (1, 16000, 1, ".wav"),
    "one sample, 48 kHz": (1, 48000, 1, ".wav"),
    "8 kHz": (12_345, 8000, 1, ".wav"),
    "44.1 kHz stereo FLAC": (30_001, 44100, 2, ".flac"),
    "MP3": (20_000, 16000, 1, ".mp3"),
    "Ogg": (20_000, 48000, 2, ".ogg"),
    "three channels": (5000, 16000, 3, ".wav"),
    "many chunks": (70_000, 16000, 1, ".wav"),
}


@pytest.mark.parametrize("kind", RECORDINGS)
def test_decoding_restores_rate_channels_and_exact_length(kind: str, audio_model: VQVAE, tmp_path: Path) -> None:
    num_samples, sample_rate, channels, suffix = RECORDINGS[kind]
    source, coded, target = tmp_path / f"in{suffix}", tmp_path / "a.vqc", tmp_path / "out.wav"
    write_audio(source, tone(num_samples, sample_rate, channels), sample_rate)
    before = audio_info(source)
    report = encode_file(source, coded, audio_model)
    decode_file(coded, target, audio_model)
    after = audio_info(target)
    assert (after.sample_rate, after.channels, after.num_samples) == (
        before.sample_rate,
        before.channels,
        before.num_samples,
    )
    assert report.bytes == coded.stat().st_size
    assert report.bitrate_bps == pytest.approx(8 * coded.stat().st_size / before.duration_s)


def test_the_models_rate_can_be_kept(audio_model: VQVAE, tmp_path: Path) -> None:
    write_audio(tmp_path / "in.wav", tone(44100, 44100), 44100)
    encode_file(tmp_path / "in.wav", tmp_path / "a.vqc", audio_model)
    decode_file(tmp_path / "a.vqc", tmp_path / "out.flac", audio_model, model_rate=True)
    after = audio_info(tmp_path / "out.flac")
    assert (after.sample_rate, after.num_samples, after.format) == (16000, 16000, "FLAC")


def test_mono_mixes_down(audio_model: VQVAE, tmp_path: Path) -> None:
    write_audio(tmp_path / "in.wav", tone(4000, channels=2), 16000)
    report = encode_file(tmp_path / "in.wav", tmp_path / "a.vqc", audio_model, mono=True)
    decode_file(tmp_path / "a.vqc", tmp_path / "out.wav", audio_model)
    assert audio_info(tmp_path / "out.wav").channels == report.channels == 1
    assert report.notes == ("2 channels were mixed down to one",)


def test_fewer_codebooks_make_a_smaller_file(audio_model: VQVAE) -> None:
    sizes = []
    for num_active in (1, 2, None):
        coded = io.BytesIO()
        sizes.append(encode_file(as_wav(tone(9000), 16000), coded, audio_model, num_active=num_active).bytes)
        decode_file(coded_again(coded), io.BytesIO(), audio_model)
    assert sizes[0] < sizes[1] == sizes[2]
    with pytest.raises(UserError, match="1 to 2"):
        encode_file(as_wav(tone(9000), 16000), io.BytesIO(), audio_model, num_active=3)


PICTURES = {
    "1x1": ("RGB", scene(1, 1)),
    "odd": ("RGB", scene(67, 131)),
    "grey": ("L", scene(70, 33, 1)[..., 0]),
    "RGBA": ("RGBA", scene(70, 90, 4)),
    "grey with alpha": ("LA", scene(33, 44, 2)),
    "16-bit grey": ("I;16", scene(40, 70, 1)[..., 0].astype(np.uint16) * 257),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_decoding_restores_size_mode_and_transparency(kind: str, image_model: VQVAE, tmp_path: Path) -> None:
    mode, pixels = PICTURES[kind]
    source, coded, target = tmp_path / "in.png", tmp_path / "a.vqc", tmp_path / "out.png"
    Image.fromarray(pixels).save(source)
    assert Image.open(source).mode == mode
    report = encode_file(source, coded, image_model)
    decode_file(coded, target, image_model)
    with Image.open(target) as image:
        assert image.mode == {"I;16": "L"}.get(mode, mode)
        assert image.size == (pixels.shape[1], pixels.shape[0])
        if "A" in mode:
            np.testing.assert_array_equal(np.array(image)[..., -1], pixels[..., -1])
    assert report.bits_per_pixel == pytest.approx(8 * coded.stat().st_size / math.prod(pixels.shape[:2]))
    assert ("16 bits" in " ".join(report.notes)) == (mode == "I;16")


def test_exif_rotation_is_applied(image_model: VQVAE) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    coded = io.BytesIO()
    report = encode_file(as_png(scene(20, 50), exif=exif), coded, image_model)
    assert (report.width, report.height) == (20, 50)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_the_suffix_of_the_output_is_its_format(suffix: str, image_model: VQVAE, tmp_path: Path) -> None:
    encode_file(as_png(scene(20, 50, 4)), tmp_path / "a.vqc", image_model)
    decode_file(tmp_path / "a.vqc", tmp_path / f"out{suffix}", image_model)
    expected = {".jpg": "JPEG"}.get(suffix, suffix[1:].upper())
    assert Image.open(tmp_path / f"out{suffix}").format == expected


def test_info_and_reports_are_json_and_agree_with_the_disk(audio_model: VQVAE, tmp_path: Path) -> None:
    write_audio(tmp_path / "in.wav", tone(22050, 22050, 2), 22050)
    report = encode_file(tmp_path / "in.wav", tmp_path / "a.vqc", audio_model)
    info = read_info(tmp_path / "a.vqc")
    assert json.loads(json.dumps(info.as_dict()))["intact"]
    assert json.loads(json.dumps(report.as_dict()))["media"] == "audio"
    assert info.bytes == info.expected_bytes == report.bytes == (tmp_path / "a.vqc").stat().st_size
    assert (info.duration_s, info.channels, info.sample_rate, info.model_rate) == (1.0, 2, 22050, 16000)
    assert info.num_chunks == math.ceil(16000 / 16 / 64)
    assert (info.model, info.fingerprint) == (audio_model.name, audio_model.fingerprint)


def test_progress_ends_at_the_number_of_chunks(audio_model: VQVAE) -> None:
    calls: list[tuple[int, int]] = []
    coded = io.BytesIO()
    encode_file(as_wav(tone(5000), 16000), coded, audio_model, progress=lambda *call: calls.append(call))
    assert calls == [(index, 5) for index in range(1, 6)]
    calls.clear()
    decode_file(coded_again(coded), io.BytesIO(), audio_model, progress=lambda *call: calls.append(call))
    assert calls == [(index, 5) for index in range(1, 6)]


class Standard:
    """Stands in for sys.stdin or sys.stdout."""

    def __init__(self, data: bytes = b"") -> None:
        self.buffer = io.BytesIO(data)


def test_pipes_carry_whole_files(image_model: VQVAE, monkeypatch: pytest.MonkeyPatch) -> None:
    png, here = as_png(scene(30, 40)), io.BytesIO()
    coded, decoded = Standard(), Standard()
    monkeypatch.setattr("sys.stdin", Standard(png.getvalue()))
    monkeypatch.setattr("sys.stdout", coded)
    assert encode_file("-", "-", image_model).source == "standard input"
    monkeypatch.setattr("sys.stdin", Standard(coded.buffer.getvalue()))
    monkeypatch.setattr("sys.stdout", decoded)
    decode_file("-", "-", image_model)
    encode_file(png, here, image_model)
    assert coded.buffer.getvalue() == here.getvalue()
    assert Image.open(decoded.buffer).size == (40, 30)


def test_a_stream_that_cannot_seek_is_read(audio_model: VQVAE) -> None:
    class Pipe(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self._data = io.BytesIO(data)

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            return self._data.read(size)

    wav, direct, piped = as_wav(tone(3000), 16000), io.BytesIO(), io.BytesIO()
    encode_file(Pipe(wav.getvalue()), piped, audio_model)  # type: ignore[arg-type]
    encode_file(wav, direct, audio_model)
    assert piped.getvalue() == direct.getvalue()


@pytest.mark.parametrize("model_rate", [False, True])
def test_the_report_is_of_the_part_that_was_decoded_but_for_the_bitrate(audio_model: VQVAE, model_rate: bool) -> None:
    coded = io.BytesIO()
    encode_file(as_wav(tone(8000, 8000), 8000), coded, audio_model)
    coded.seek(0)
    report = decode_file(coded, io.BytesIO(), audio_model, model_rate=model_rate, start_s=0.25, duration_s=0.125)
    assert (report.duration_s, report.num_samples) == (0.125, 1000)
    assert report.real_time_factor == 0.125 / report.elapsed_s
    assert report.bitrate_bps == 8 * len(coded.getvalue())
