"""Claims about damaged, cut, foreign and mismatched files: an error or the rest, never silent garbage."""

from __future__ import annotations

import io
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from codec.core.errors import UserError
from codec.data.audio import read_audio, write_audio
from codec.data.image import read_image
from codec.files import Damage, decode_file, encode_file, read_info
from codec.files.container import read_header, write_header
from codec.files.errors import (
    DamagedChunkError,
    DamagedHeaderError,
    EmptyFileError,
    ForeignFileError,
    NewerVersionError,
    OutputError,
    TruncatedFileError,
    UnknownModelError,
    UnreadableMediaError,
    WrongMediaError,
    WrongModelError,
)
from codec.files.header import AudioHeader, LevelHeader
from codec.models.tiny import tiny_model
from codec.models.vqvae import VQVAE
from tests.files.media import scene, tone
from tests.files.test_round_trip import as_png, as_wav


@pytest.fixture(scope="module")
def song(audio_model: VQVAE) -> bytes:
    """Four chunks of sound."""
    coded = io.BytesIO()
    encode_file(as_wav(tone(3600), 16000), coded, audio_model)
    return coded.getvalue()


@pytest.fixture(scope="module")
def photo(image_model: VQVAE) -> bytes:
    """Six tiles and a plane of transparency."""
    coded, pixels = io.BytesIO(), scene(120, 150, 4)
    pixels[..., 3] = np.arange(150)[None] // 2 + np.arange(120)[:, None]
    encode_file(as_png(pixels), coded, image_model)
    return coded.getvalue()


def decoded(data: bytes, model: VQVAE, *, skip_damaged: bool = False) -> tuple[torch.Tensor, tuple[Damage, ...]]:
    """What comes out, [channels, *space], transparency last; and what is reported lost."""
    out = io.BytesIO()
    report = decode_file(io.BytesIO(data), out, model, skip_damaged=skip_damaged)
    out.seek(0)
    if model.media.kind == "audio":
        return read_audio(out)[0], report.damage
    picture = read_image(out)
    return torch.cat([picture.signal, picture.alpha]) if picture.alpha is not None else picture.signal, report.damage


def flipped(data: bytes, position: int, bits: int = 0xFF) -> bytes:
    return data[:position] + bytes([data[position] ^ bits]) + data[position + 1 :]


def check_outcome(data: bytes, model: VQVAE, whole: torch.Tensor) -> type[UserError] | None:
    """Decode strictly: the original or a one-line error; then leniently: equal outside what is reported lost."""
    strict = None
    try:
        signal, _ = decoded(data, model)
        assert torch.equal(signal, whole), "garbage without an error"
    except UserError as error:
        strict = type(error)
        assert "\n" not in str(error)
    try:
        signal, damage = decoded(data, model, skip_damaged=True)
    except UserError:
        return strict
    assert (strict is None) == (not damage)
    assert signal.shape == whole.shape
    unit = 16000 if model.media.kind == "audio" else 1
    differs = (signal != whole).any(dim=0)
    for loss in damage:
        box = tuple(
            slice(round(start * unit), round(stop * unit))
            for start, stop in zip(loss.affected_start, loss.affected_stop, strict=True)
        )
        differs[box] = False
    assert not differs.any(), "garbage outside what was reported lost"
    return strict


@pytest.mark.parametrize(("bits", "stride"), [(0xFF, 1), (0x01, 7)])
def test_every_flipped_byte_of_sound_is_noticed(bits: int, stride: int, song: bytes, audio_model: VQVAE) -> None:
    whole, _ = decoded(song, audio_model)
    for position in range(0, len(song), stride):
        assert check_outcome(flipped(song, position, bits), audio_model, whole) is not None, position


def test_every_truncation_of_sound_is_noticed(song: bytes, audio_model: VQVAE) -> None:
    whole, _ = decoded(song, audio_model)
    for length in range(len(song)):
        error = check_outcome(song[:length], audio_model, whole)
        assert error is (EmptyFileError if length == 0 else TruncatedFileError), length


def test_flipped_bytes_of_a_picture_are_noticed(photo: bytes, image_model: VQVAE) -> None:
    whole, _ = decoded(photo, image_model)
    header = read_header(io.BytesIO(photo)).header_bytes
    for position in [*range(header), *range(header, len(photo), 37)]:
        assert check_outcome(flipped(photo, position), image_model, whole) is not None, position


def test_truncations_of_a_picture_are_noticed(photo: bytes, image_model: VQVAE) -> None:
    whole, _ = decoded(photo, image_model)
    for length in range(1, len(photo), 43):
        assert check_outcome(photo[:length], image_model, whole) is TruncatedFileError, length


def test_a_damaged_interval_is_silent_and_named(song: bytes, audio_model: VQVAE) -> None:
    contents = read_header(io.BytesIO(song))
    broken = flipped(song, contents.offsets[1] + 6)
    with pytest.raises(DamagedChunkError, match=r"chunk 2 of 4 \(seconds 0.06 to 0.13\)"):
        decoded(broken, audio_model)
    whole, _ = decoded(song, audio_model)
    signal, (damage,) = decoded(broken, audio_model, skip_damaged=True)
    assert not signal[:, 1024:2048].any()
    assert (damage.chunk, damage.start, damage.stop) == (2, (0.064,), (0.128,))
    first, last = round(damage.affected_start[0] * 16000), round(damage.affected_stop[0] * 16000)
    assert 512 < first <= 1024 < 2048 <= last < 2560  # the decoder's context, and no more
    assert torch.equal(signal[:, :first], whole[:, :first])
    assert torch.equal(signal[:, last:], whole[:, last:])


def test_a_damaged_tile_is_grey_and_named(photo: bytes, image_model: VQVAE) -> None:
    contents = read_header(io.BytesIO(photo))
    broken = flipped(photo, contents.offsets[4] + 6)
    with pytest.raises(DamagedChunkError, match=r"chunk 5 of 6 \(pixels x 64 to 127, y 64 to 119\)"):
        decoded(broken, image_model)
    picture, (damage,) = decoded(broken, image_model, skip_damaged=True)
    assert (picture[:3, 64:120, 64:128].abs() < 0.01).all()
    assert (damage.start, damage.stop) == ((64, 64), (120, 128))


def test_damaged_transparency_becomes_opaque_and_is_reported(photo: bytes, image_model: VQVAE) -> None:
    broken = flipped(photo, len(photo) - 5)
    with pytest.raises(DamagedChunkError, match="transparency"):
        decoded(broken, image_model)
    whole, _ = decoded(photo, image_model)
    picture, (damage,) = decoded(broken, image_model, skip_damaged=True)
    assert torch.equal(picture[:3], whole[:3])
    assert (damage.chunk, damage.start, damage.stop) == (0, (0, 0), (120, 150))
    assert read_info(io.BytesIO(broken)).damage == (damage,)


def test_info_lists_damage_instead_of_raising(song: bytes) -> None:
    contents = read_header(io.BytesIO(song))
    info = read_info(io.BytesIO(flipped(song, contents.offsets[2] + 6)[:-3]))
    assert [damage.chunk for damage in info.damage] == [3, 4]
    assert not info.intact
    assert info.expected_bytes - info.bytes == 3


def test_a_file_that_is_damaged_all_over_is_an_error_even_when_skipping(song: bytes, audio_model: VQVAE) -> None:
    header = read_header(io.BytesIO(song)).header_bytes
    with pytest.raises(DamagedChunkError, match="nothing can be recovered"):
        decoded(song[:header] + bytes(len(song) - header), audio_model, skip_damaged=True)


def test_bytes_after_the_end_are_ignored(song: bytes, audio_model: VQVAE) -> None:
    assert torch.equal(decoded(song + b"tail", audio_model)[0], decoded(song, audio_model)[0])


def test_another_model_is_refused_by_name(song: bytes, image_model: VQVAE) -> None:
    for model in (tiny_model("audio", seed=1), image_model):
        with pytest.raises(WrongModelError, match=r"'tiny-audio' \(fingerprint 0{16}\)"):
            decoded(song, model)


def test_a_model_that_is_not_installed_is_named(song: bytes) -> None:
    with pytest.raises(UnknownModelError, match="'tiny-audio'"):
        decode_file(io.BytesIO(song), io.BytesIO())


def test_a_newer_version_is_refused(song: bytes, audio_model: VQVAE) -> None:
    with pytest.raises(NewerVersionError, match="version 9"):
        decoded(song[:4] + b"\x09" + song[5:], audio_model)


def test_a_foreign_file_is_refused(audio_model: VQVAE) -> None:
    with pytest.raises(ForeignFileError):
        decoded(as_wav(tone(100), 16000).getvalue(), audio_model)


@pytest.mark.parametrize(
    ("content", "kind", "error", "words"),
    [
        (b"", "audio", EmptyFileError, "empty"),
        (b"", "image", EmptyFileError, "empty"),
        (b"Dear diary, today I was named .wav", "audio", UnreadableMediaError, "not audio"),
        (b"Dear diary, today I was named .png", "image", UnreadableMediaError, "not a picture"),
        (as_png(scene(9, 9)).getvalue(), "audio", WrongMediaError, "is a picture"),
        (as_wav(tone(99), 16000).getvalue(), "image", WrongMediaError, "is a recording"),
        (as_png(scene(99, 99)).getvalue()[:500], "image", UnreadableMediaError, "damaged"),
        (as_wav(tone(1), 16000).getvalue()[:-4], "audio", UnreadableMediaError, "samples|cut short|damaged"),
        (b"\x8aVQC\x01", "audio", WrongMediaError, "already"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,  # a WAV file of floats says when it was written
)
def test_what_cannot_be_encoded_is_told_in_one_line_and_leaves_nothing(
    content: bytes, kind: str, error: type[UserError], words: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source = tmp_path / "in.wav"
    source.write_bytes(content)
    with pytest.raises(error, match=words) as caught:
        encode_file(source, tmp_path / "out.vqc", request.getfixturevalue(f"{kind}_model"))
    assert "in.wav" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [source]


def test_sound_that_ends_early_leaves_nothing(audio_model: VQVAE, tmp_path: Path) -> None:
    write_audio(tmp_path / "in.flac", torch.rand(1, 200_000) - 0.5, 16000)
    content = (tmp_path / "in.flac").read_bytes()
    (tmp_path / "in.flac").write_bytes(content[: len(content) // 2])
    with pytest.raises(UnreadableMediaError, match=r"in\.flac"):
        encode_file(tmp_path / "in.flac", tmp_path / "out.vqc", audio_model)
    assert [path.name for path in tmp_path.iterdir()] == ["in.flac"]


def test_a_failed_decode_leaves_nothing_and_keeps_what_was_there(
    song: bytes, audio_model: VQVAE, tmp_path: Path
) -> None:
    (tmp_path / "a.vqc").write_bytes(flipped(song, len(song) - 1))
    (tmp_path / "out.wav").write_bytes(b"precious")
    with pytest.raises(DamagedChunkError):
        decode_file(tmp_path / "a.vqc", tmp_path / "out.wav", audio_model)
    assert (tmp_path / "out.wav").read_bytes() == b"precious"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_failed_decode_writes_nothing_into_a_pipe(song: bytes, audio_model: VQVAE) -> None:
    out = io.BytesIO()
    with pytest.raises(DamagedChunkError):
        decode_file(io.BytesIO(flipped(song, len(song) - 1)), out, audio_model)
    assert not out.getvalue()


def test_unknown_output_formats_are_refused(song: bytes, photo: bytes, tmp_path: Path) -> None:
    models = {"song": tiny_model("audio"), "photo": tiny_model("image")}
    for data, kind, name in ((song, "song", "out.xyz"), (song, "song", "out"), (photo, "photo", "out.wav")):
        (tmp_path / "a.vqc").write_bytes(data)
        with pytest.raises(UserError, match="cannot write"):
            decode_file(tmp_path / "a.vqc", tmp_path / name, models[kind])
        assert [path.name for path in tmp_path.iterdir()] == ["a.vqc"]


def test_a_header_forged_with_other_chunks_rows_or_rates_is_refused(song: bytes, audio_model: VQVAE) -> None:
    contents = read_header(io.BytesIO(song))
    blown_up = AudioHeader(1_000_000, 3600 * 1_000_000, 1, 1)  # as many coded samples, a million times the sound
    for header in (
        replace(contents.header, step=(63,)),
        replace(contents.header, step=(65,)),
        replace(contents.header, media=replace(contents.header.media, channels=3)),
        replace(contents.header, media=blown_up),
        replace(contents.header, levels=(LevelHeader(16, 31, 2),)),
        replace(contents.header, levels=(LevelHeader(16, 32, 3),)),
    ):
        forged = write_header(header, contents.chunks[:1] * header.num_chunks) + song[contents.header_bytes :]
        with pytest.raises(WrongModelError):
            decoded(forged, audio_model, skip_damaged=True)


def test_a_device_is_written_to_and_not_replaced(song: bytes, audio_model: VQVAE, tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: received.append(fifo.read_bytes()))
    received: list[bytes] = []
    reader.start()
    decode_file(io.BytesIO(song), fifo, audio_model, suffix=".wav")
    reader.join(timeout=10)
    assert received[0].startswith(b"RIFF")
    assert fifo.is_fifo()


def test_a_place_that_cannot_be_written_is_told_before_the_work(audio_model: VQVAE, tmp_path: Path) -> None:
    def working(_: int, __: int) -> None:
        raise AssertionError("coded a chunk first")

    (tmp_path / "file").touch()
    for target in (tmp_path, tmp_path / "file" / "a.vqc", f"{tmp_path}/absent/"):
        with pytest.raises(UserError, match="cannot write"):
            encode_file(as_wav(tone(3600), 16000), target, audio_model, progress=working)


def test_the_input_is_never_overwritten(song: bytes, audio_model: VQVAE, tmp_path: Path) -> None:
    (tmp_path / "a.vqc").write_bytes(song)
    with pytest.raises(OutputError, match="input and output at once"):
        decode_file(tmp_path / "a.vqc", tmp_path / "." / "a.vqc", audio_model)


def test_random_bytes_in_a_chunk_with_a_right_checksum_never_crash(song: bytes, audio_model: VQVAE) -> None:
    from codec.files.container import seal

    contents = read_header(io.BytesIO(song))
    rng = np.random.default_rng(0)
    for _ in range(50):
        data = rng.bytes(contents.chunks[0].length)
        forged = song[: contents.header_bytes] + seal(0, data) + song[contents.offsets[1] :]
        try:
            signal, _ = decoded(forged, audio_model)
            assert torch.isfinite(signal).all()
        except DamagedChunkError:
            pass


def test_a_header_of_a_truncated_file_is_not_believed_beyond_its_checksum(song: bytes, audio_model: VQVAE) -> None:
    for position in range(6, read_header(io.BytesIO(song)).header_bytes):
        with pytest.raises(DamagedHeaderError):
            decoded(flipped(song, position), audio_model, skip_damaged=True)
