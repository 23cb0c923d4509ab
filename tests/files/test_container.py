"""Claims about the bytes of headers and tables."""

from __future__ import annotations

import io
import math
import tracemalloc
import zlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.core.errors import UserError
from codec.data.audio import resampled_length
from codec.files.container import (
    MAGIC,
    VERSION,
    Stored,
    read_chunk,
    read_header,
    seal,
    write_header,
)
from codec.files.errors import (
    DamagedHeaderError,
    EmptyFileError,
    ForeignFileError,
    NewerVersionError,
    TruncatedFileError,
)
from codec.files.header import AudioHeader, Header, LevelHeader, PictureHeader, PriorHeader, coded_length
from codec.files.method import Method
from codec.files.varint import ByteReader, varint

SPEECH = Header(
    model="speech-16k",
    fingerprint="0123456789abcdef",
    media=AudioHeader(16000, 16000, 1, 16000),
    rows=1,
    levels=(LevelHeader(320, 1024, 6),),
    step=(400,),
)


@st.composite
def headers(draw: st.DrawFn) -> Header:
    """Any header an encoder could write, of at most a few hundred chunks."""
    media: AudioHeader | PictureHeader
    rows = 1
    if draw(st.booleans()):
        rows = draw(st.integers(1, 8))
        rates = st.sampled_from([8000, 16000, 22050, 44100, 48000])
        media = AudioHeader(draw(rates), draw(st.integers(1, 10**6)), rows, draw(rates))
    else:
        flags = [draw(st.booleans()) for _ in range(3)]
        media = PictureHeader(draw(st.integers(1, 3000)), draw(st.integers(1, 3000)), *flags)
    finest = draw(st.sampled_from([1, 4, 64]))
    factors = sorted({finest * 2 ** draw(st.integers(0, 3)) for _ in range(draw(st.integers(1, 3)))}, reverse=True)
    levels = tuple(LevelHeader(factor, draw(st.integers(1, 5000)), draw(st.integers(1, 12))) for factor in factors)
    codes = [-(-extent // factors[0]) for extent in media.size]
    step = tuple(draw(st.integers(max(1, count // 16), count)) for count in codes)
    name = draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
    fingerprints = st.binary(min_size=8, max_size=8).map(bytes.hex)
    prior_names = st.sampled_from([name, "a prior"]).filter(bool)
    prior = draw(st.none() | st.builds(PriorHeader, prior_names, fingerprints))
    return Header(name, draw(fingerprints), media, rows, levels, step, prior)


def table(header: Header, lengths: list[int]) -> list[Stored]:
    alpha = isinstance(header.media, PictureHeader) and header.media.alpha
    count = header.num_chunks + alpha
    methods = [Method.COUNTED, Method.PACKED, *([Method.PREDICTED] if header.prior else [])]
    return [Stored(lengths[index % len(lengths)], methods[index % len(methods)]) for index in range(count)]


@given(headers(), st.lists(st.integers(0, 10**5), min_size=1, max_size=5))
@settings(deadline=None)
def test_a_header_reads_back_as_it_was_written(header: Header, lengths: list[int]) -> None:
    try:
        header.check()
    except ValueError:
        return  # too many codes in a chunk
    chunks = table(header, lengths)
    data = write_header(header, chunks)
    contents = read_header(io.BytesIO(data))
    assert contents.header == header
    assert list(contents.chunks) == chunks
    assert contents.header_bytes == len(data)
    assert contents.total_bytes == len(data) + sum(4 + stored.length for stored in chunks)


@given(headers())
@settings(deadline=None, max_examples=50)
def test_the_cells_of_a_header_tile_its_codes(header: Header) -> None:
    area = sum(math.prod(part.stop - part.start for part in header.target(index)) for index in range(header.num_chunks))
    assert area == math.prod(header.size)
    assert header.cell(0)[0].start == 0
    assert tuple(part.stop for part in header.cell(header.num_chunks - 1)) == header.codes_size


def test_the_header_of_a_second_of_speech_is_under_64_bytes() -> None:
    assert len(write_header(SPEECH, [Stored(375)])) <= 48


def test_fixed_headers_always_give_the_same_bytes() -> None:
    assert write_header(SPEECH, [Stored(375)]).hex() == (
        "8a56514301"  # magic, version
        "24"  # 36 bytes follow before the checksum
        "00"  # flags
        "0a7370656563682d31366b"  # speech-16k
        "0123456789abcdef"
        "807d807d01"  # rate, samples, channels
        "01"  # rows
        "01c002800806"  # one level: 320, 1024, 6
        "9003"  # codes per chunk
        "ee05"  # 375 bytes, coded
        "d7660dfc"
    )


def test_fixed_headers_with_a_prior_always_give_the_same_bytes() -> None:
    header = replace(SPEECH, prior=PriorHeader("speech-16k", "fedcba9876543210"))
    assert write_header(header, [Stored(375, Method.PREDICTED)]).hex() == (
        "8a56514302"  # magic, version
        "2d"  # 45 bytes follow before the checksum
        "00"
        "0a7370656563682d31366b"
        "0123456789abcdef"
        "00"  # the prior has the model's name
        "fedcba9876543210"
        "807d807d01"
        "01"
        "01c002800806"
        "9003"
        "de0b"  # 375 bytes, predicted
        "dc40e3af"
    )


def test_a_chunk_of_a_method_that_does_not_exist_is_refused() -> None:
    header = replace(SPEECH, prior=PriorHeader("speech-16k", "fedcba9876543210"))
    body = bytearray(write_header(header, [Stored(375, Method.PREDICTED)])[:-4])
    body[-2] |= 3
    with pytest.raises(DamagedHeaderError, match="makes no sense"):
        read_header(io.BytesIO(bytes(body) + zlib.crc32(bytes(body)).to_bytes(4, "little")))


@given(st.integers(0, 2**63 - 1))
def test_varints_read_back(value: int) -> None:
    data = varint(value)
    assert ByteReader(data).varint() == value
    assert len(data) == max(1, -(-value.bit_length() // 7))


@given(st.integers(1, 10**9), st.integers(1, 10**6), st.integers(1, 10**6))
def test_the_formats_length_is_that_of_the_resampler(count: int, rate: int, model_rate: int) -> None:
    assert coded_length(count, rate, model_rate) == resampled_length(count, rate, model_rate)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_header_or_a_user_error(data: bytes) -> None:
    for start in (b"", MAGIC, MAGIC + b"\x01", MAGIC + bytes([VERSION])):
        with pytest.raises(UserError):
            read_header(io.BytesIO(start + data))


@given(st.integers(1, VERSION), st.binary(max_size=200))
def test_any_body_with_a_right_checksum_gives_a_header_or_a_user_error(version: int, body: bytes) -> None:
    sealed = MAGIC + bytes([version]) + varint(len(body)) + body
    try:
        read_header(io.BytesIO(sealed + zlib.crc32(sealed).to_bytes(4, "little")))
    except DamagedHeaderError as error:
        assert "makes no sense" in str(error)


@pytest.mark.parametrize(
    ("media", "step"),
    [
        (AudioHeader(16000, 2**60, 1, 16000), (2**55,)),
        (AudioHeader(16000, 2**60, 1, 16000), (1,)),
        (AudioHeader(16000, 16000, 10**9, 16000), (400,)),
        (AudioHeader(10**9, 16000, 1, 16000), (400,)),
        (PictureHeader(2**31, 2**31), (2**20, 2**20)),
        (PictureHeader(10000, 10000), (1, 1)),
    ],
)
def test_a_forged_size_is_refused_without_being_allocated(media, step) -> None:
    header = Header("speech-16k", "0" * 16, media, 1, SPEECH.levels, step)
    body = write_header(SPEECH, [Stored(375)])[6:-4]
    from codec.files import container

    forged = container._body(header) + varint(750)
    assert body  # the honest header of the same model, for comparison
    sealed = MAGIC + bytes([header.version]) + varint(len(forged)) + forged
    tracemalloc.start()
    with pytest.raises(DamagedHeaderError, match="makes no sense"):
        read_header(io.BytesIO(sealed + zlib.crc32(sealed).to_bytes(4, "little")))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_forged_chunk_length_is_refused_without_being_allocated() -> None:
    data = write_header(SPEECH, [Stored(2**60)])
    file = io.BytesIO(data + b"abc")
    with pytest.raises(TruncatedFileError):
        read_chunk(file, read_header(file), 0)


def test_a_chunk_moved_to_another_place_is_damaged() -> None:
    header = Header(SPEECH.model, SPEECH.fingerprint, SPEECH.media, 1, SPEECH.levels, (25,))
    data = write_header(header, [Stored(3), Stored(3)])
    file = io.BytesIO(data + seal(1, b"abc") + seal(0, b"def"))
    with pytest.raises(ValueError, match="checksum"):
        read_chunk(file, read_header(file), 0)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", EmptyFileError, "empty"),
        (b"RIFF1234WAVE", ForeignFileError, "not a .vqc file"),
        (b"\x8aV", TruncatedFileError, "cut short"),
        (MAGIC + b"\x03abc", NewerVersionError, "version 3"),
        (MAGIC + b"\x00abc", DamagedHeaderError, "damaged"),
        (MAGIC + b"\x01\x40abc", TruncatedFileError, "cut short"),
        (MAGIC + b"\x01" + b"\xff" * 20, DamagedHeaderError, "damaged"),
    ],
)
def test_every_kind_of_wrong_file_has_its_own_error(data: bytes, error: type[UserError], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        read_header(io.BytesIO(data), "song.vqc")
    assert str(caught.value).startswith("song.vqc")
    assert "\n" not in str(caught.value)
