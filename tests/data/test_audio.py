from __future__ import annotations

import io
import os
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.core.errors import UserError
from codec.data.audio import (
    AudioWriter,
    audio_info,
    read_audio,
    resampled_length,
    stream_audio,
    write_audio,
)
from tests.data.makers import noise, same, write_noise

LOSSLESS = [".wav", ".flac", ".aiff"]
LOSSY = [".ogg", ".opus", ".mp3"]


def tone(num_samples: int, rate: int, hz: float = 440.0) -> torch.Tensor:
    phase = 2 * np.pi * hz * torch.arange(num_samples, dtype=torch.float64) / rate
    return 0.5 * torch.sin(phase).float()[None]


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("channels", [1, 2])
def test_sixteen_bit_samples_survive_writing_and_reading(tmp_path: Path, suffix: str, channels: int) -> None:
    integers = torch.arange(-32768, 32768, 7, dtype=torch.float32)
    signal = (integers / 32768.0).expand(channels, -1)
    write_audio(tmp_path / f"a{suffix}", signal, 22050)
    back, rate = read_audio(tmp_path / f"a{suffix}")
    assert rate == 22050 and same(back, signal)


@pytest.mark.parametrize("suffix", LOSSY)
def test_lossy_formats_sound_alike(tmp_path: Path, suffix: str) -> None:
    signal = tone(48000, 48000)
    write_audio(tmp_path / f"a{suffix}", signal, 48000)
    back, rate = read_audio(tmp_path / f"a{suffix}")
    length = min(back.shape[1], signal.shape[1])
    spectrum = torch.fft.rfft(back[0, :length]).abs()
    assert rate == 48000 and abs(int(spectrum.argmax()) * rate / length - 440) < 2
    assert 0.25 < float(back.std()) < 0.45  # a sine of amplitude 0.5 has deviation 0.354


def test_loud_samples_are_clipped_not_wrapped(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", torch.tensor([[2.0, -2.0, 0.0]]), 8000)
    back, _ = read_audio(tmp_path / "a.wav")
    assert back.tolist() == [[32767 / 32768, -1.0, 0.0]]


def test_twenty_minutes_of_vorbis_can_be_written_in_one_call(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.ogg", torch.zeros(1, 8000 * 1200), 8000)
    assert audio_info(tmp_path / "a.ogg").num_samples == 8000 * 1200


def test_a_failed_writing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), AudioWriter(tmp_path / "a.wav", 8000, 1) as writer:
        writer.write(torch.zeros(1, 10))
        raise RuntimeError
    with pytest.raises(UserError, match="OPUS does not take 1 channels at 44100 Hz"):
        write_audio(tmp_path / "a.opus", torch.zeros(1, 10), 44100)
    with pytest.raises(UserError, match=r"'\.txt'"):
        write_audio(tmp_path / "a.txt", torch.zeros(1, 10), 44100)
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_is_written_whole(tmp_path: Path) -> None:
    output = io.BytesIO()
    write_audio(output, torch.from_numpy(noise(100).T.copy()), 8000, suffix=".flac")
    output.seek(0)
    assert soundfile.read(output)[0].shape == (100,)


def test_a_pipe_is_read_whole() -> None:
    content = io.BytesIO()
    soundfile.write(content, noise(5000, 2), 16000, format="FLAC")
    end, start = os.pipe()
    feeder = threading.Thread(target=lambda: (os.write(start, content.getvalue()), os.close(start)))
    feeder.start()
    with os.fdopen(end, "rb") as pipe:
        signal, rate = read_audio(pipe)
    feeder.join()
    assert rate == 16000 and same(signal, torch.from_numpy(noise(5000, 2).T.copy()))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    write_noise(folder / "mono.flac", 150_001, rate=16000)
    write_noise(folder / "stereo.wav", 150_001, rate=44100, channels=2)
    write_audio(folder / "lossy.mp3", tone(150_001, 44100), 44100)
    write_audio(folder / "lossy.ogg", tone(150_001, 16000), 16000)
    return folder


NAMES = ["mono.flac", "stereo.wav", "lossy.mp3", "lossy.ogg"]


@settings(max_examples=12, deadline=None)
@given(name=st.sampled_from(NAMES), rate=st.sampled_from([None, 8000, 16000]), block=st.integers(1000, 200_000))
def test_a_stream_does_not_depend_on_its_blocks(recordings: Path, name: str, rate: int | None, block: int) -> None:
    whole, _ = read_audio(recordings / name, sample_rate=rate)
    stream = stream_audio(recordings / name, sample_rate=rate, block=block)
    blocks = list(stream)
    assert same(torch.cat(blocks, dim=1), whole)
    assert stream.num_samples == whole.shape[1]
    assert all(part.shape[1] == block for part in blocks[:-1])


@settings(max_examples=20, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    rate=st.sampled_from([None, 16000]),
    start=st.integers(0, 50_000),
    num_samples=st.integers(1, 120_000),
)
def test_a_stretch_is_a_slice_of_the_whole(
    recordings: Path, name: str, rate: int | None, start: int, num_samples: int
) -> None:
    whole, _ = read_audio(recordings / name, sample_rate=rate)
    part, _ = read_audio(recordings / name, sample_rate=rate, start=start, num_samples=num_samples)
    assert same(part, whole[:, start : start + num_samples])


@given(st.integers(1, 10**9), st.sampled_from([8000, 16000, 22050, 44100, 48000]))
def test_resampled_lengths_are_whole_and_within_half_a_sample(num_samples: int, rate: int) -> None:
    length = resampled_length(num_samples, rate, 16000)
    assert length == 1 or abs(length * rate - num_samples * 16000) * 2 <= rate


@pytest.mark.parametrize("num_samples", [1, 2, 3, 100])
@pytest.mark.parametrize("rate", [8000, 44100, 96000])
def test_the_shortest_recordings_resample_to_their_exact_length(tmp_path: Path, num_samples: int, rate: int) -> None:
    write_noise(tmp_path / "a.wav", num_samples, rate=rate)
    signal, _ = read_audio(tmp_path / "a.wav", sample_rate=16000)
    assert signal.shape == (1, resampled_length(num_samples, rate, 16000))


def test_resampling_keeps_a_tone(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", tone(44100, 44100), 44100, subtype="FLOAT")
    signal, _ = read_audio(tmp_path / "a.wav", sample_rate=16000)
    middle = slice(1000, -1000)  # away from the ends, where the filter sees silence
    assert torch.allclose(signal[0, middle], tone(16000, 16000)[0, middle], atol=1e-4)  # HQ: better than -80 dB


def test_channels_are_mixed_or_copied_only_when_asked(tmp_path: Path) -> None:
    frames = write_noise(tmp_path / "s.wav", 100, channels=2)
    assert read_audio(tmp_path / "s.wav")[0].shape == (2, 100)
    mono, _ = read_audio(tmp_path / "s.wav", channels=1)
    assert torch.allclose(mono[0], torch.from_numpy(frames.mean(axis=1)))
    write_audio(tmp_path / "m.wav", mono, 8000)
    twice, _ = read_audio(tmp_path / "m.wav", channels=2)
    assert same(twice[0], twice[1])
    with pytest.raises(UserError, match="has 2 channels, 3 were asked for"):
        read_audio(tmp_path / "s.wav", channels=3)


def test_streaming_takes_memory_for_a_block_not_for_the_file(tmp_path: Path) -> None:
    with AudioWriter(tmp_path / "long.flac", 44100, 1) as writer:
        for _ in range(60):
            writer.write(torch.zeros(1, 44100 * 10))
    tracemalloc.start()
    total = sum(part.shape[1] for part in stream_audio(tmp_path / "long.flac", sample_rate=16000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 60 * 10 * 16000
    assert peak < 8_000_000  # the whole is 106 MB


def bad_files(folder: Path) -> dict[str, str]:
    (folder / "text.wav").write_text("hello, I am a text\n" * 50)
    (folder / "text.raw").write_text("hello, I am a text\n" * 50)
    (folder / "empty.flac").write_bytes(b"")
    soundfile.write(folder / "silent.wav", np.zeros((0, 1)), 16000)
    frames = noise(1000)
    frames[500] = np.nan
    soundfile.write(folder / "nan.wav", frames, 16000, subtype="FLOAT")
    write_noise(folder / "whole.flac", 200_000)
    (folder / "cut.flac").write_bytes((folder / "whole.flac").read_bytes()[:100_000])
    (folder / "folder.wav").mkdir()
    return {
        "text.wav": "not audio",
        "text.raw": "not audio",
        "empty.flac": "empty",
        "silent.wav": "no samples",
        "nan.wav": "NaN",
        "cut.flac": "damaged|cut short",
        "folder.wav": "cannot read",
        "missing.wav": "no such file",
    }


def test_every_bad_file_is_one_line_that_names_it(tmp_path: Path) -> None:
    for name, complaint in bad_files(tmp_path).items():
        with pytest.raises(UserError, match=complaint) as error:
            read_audio(tmp_path / name)
        assert str(tmp_path / name) in str(error.value) and "\n" not in str(error.value)


@settings(max_examples=60, deadline=None)
@given(
    suffix=st.sampled_from([".wav", ".flac", ".aiff", ".ogg", ".mp3"]),
    keep=st.floats(0, 1),
    damage=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=4),
)
def test_damage_anywhere_gives_samples_or_one_line(
    small_files: dict[str, bytes], suffix: str, keep: float, damage: list[tuple[float, int]]
) -> None:
    content = bytearray(small_files[suffix])
    for place, value in damage:
        content[int(place * len(content))] = value
    with io.BytesIO(content[: int(keep * len(content))]) as file:
        try:
            signal, rate = read_audio(file)
        except UserError as error:
            assert "\n" not in str(error)
        else:
            assert bool(torch.isfinite(signal).all()) and signal.shape[1] > 0 and rate > 0


@pytest.fixture(scope="module")
def small_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("small")
    for suffix in (".wav", ".flac", ".aiff", ".ogg", ".mp3"):
        write_audio(folder / f"a{suffix}", torch.from_numpy(noise(3000).T.copy()), 16000)
    return {path.suffix: path.read_bytes() for path in folder.iterdir()}


def test_an_mp3_without_a_length_header_is_read_to_its_end(tmp_path: Path) -> None:
    """libsndfile guesses the length from the first frame, here a large one, and would stop early."""
    frames = np.concatenate([noise(44100 * 5), np.zeros((44100 * 20, 1))])
    soundfile.write(tmp_path / "a.mp3", frames, 44100, bitrate_mode="VARIABLE", compression_level=0.3)
    content = (tmp_path / "a.mp3").read_bytes()
    header_frame = max(content.find(b"Xing"), content.find(b"Info"))
    assert header_frame > 0
    start = content.find(content[content.find(b"\xff\xfb") : content.find(b"\xff\xfb") + 2], header_frame)
    (tmp_path / "b.mp3").write_bytes(content[start:])
    length = audio_info(tmp_path / "b.mp3").num_samples
    assert abs(length - 44100 * 25) < 4 * 1152  # frames of 1152 samples; the header also said how many to trim
    assert read_audio(tmp_path / "b.mp3")[0].shape == (1, length)


def test_a_flac_that_does_not_know_its_length_is_read_to_its_end(tmp_path: Path) -> None:
    """As written to a pipe: 36 bits of the first header, the number of samples, are zero."""
    frames = write_noise(tmp_path / "a.flac", 100_001)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    (tmp_path / "b.flac").write_bytes(content)
    assert audio_info(tmp_path / "b.flac").num_samples == 100_001
    assert same(read_audio(tmp_path / "b.flac")[0], torch.from_numpy(frames.T.copy()))
    part, _ = read_audio(tmp_path / "b.flac", start=70_000, num_samples=10)
    assert same(part, torch.from_numpy(frames[70_000:70_010].T.copy()))


def test_first_second_from_a_stream_matches_info(recordings: Path) -> None:
    with stream_audio(recordings / "stereo.wav", sample_rate=16000, channels=1, block=16000) as stream:
        assert next(stream).shape == (1, 16000)
        assert stream.info == audio_info(recordings / "stereo.wav")
        assert (stream.info.sample_rate, stream.info.channels, stream.info.num_samples) == (44100, 2, 150_001)
