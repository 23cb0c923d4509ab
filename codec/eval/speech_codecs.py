"""Codecs of speech that people use, on the same signals: Opus, Codec2, Lyra v2, and MP3 where there is no Opus."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from torch import Tensor

from codec.data.audio import read_audio, write_audio
from codec.eval.channelwise import Voice, channelwise
from codec.eval.lyra import LYRA_BPS, has_lyra, lyra
from codec.eval.rivals import RivalFailure, RivalResult, attempt, run_program

_OPUS_BPS = range(6000, 256001, 1000)  # per channel, from the least that opusenc takes to the most
_CODEC2_MODES = {3200: "3200", 2400: "2400", 1600: "1600", 1400: "1400", 1300: "1300", 1200: "1200", 700: "700C"}
_CODEC2_RATE = 8000
_CODEC2_FRAME = 320  # samples; the longest frame of any mode


@dataclass(frozen=True)
class SpeechCodec:
    """A codec that is here.

    Attributes:
        name: for people.
        rates: bit/s per channel that it can be asked for.
        ladder: those of them that a curve is drawn through.
        run: codes a signal `[c, time]` at a sample rate in Hz, with its files in a folder, at one of `rates`.
    """

    name: str
    rates: Sequence[int]
    ladder: Sequence[int]
    run: Callable[[Tensor, int, Path, int], RivalResult]


def speech_rivals(
    signal: Tensor, sample_rate: int, folder: Path, *, bitrate_bps: float
) -> list[RivalResult | RivalFailure]:
    """Every codec that is here, each at the legal bitrate nearest to `bitrate_bps`.

    Args:
        signal: `[c, time]` in [-1, 1] at `sample_rate` Hz.
        folder: where their files go.
    """
    results = []
    for codec in speech_codecs(sample_rate):
        nearest = min(codec.rates, key=lambda rate: abs(rate - bitrate_bps / len(signal)))
        results.append(attempt(codec.name, partial(codec.run, signal, sample_rate, folder, nearest)))
    return results


def speech_sweep(
    signal: Tensor, sample_rate: int, folder: Path, *, ladders: Mapping[str, Sequence[int]] | None = None
) -> Iterator[RivalResult | RivalFailure]:
    """Every codec that is here, at every rate of its ladder.

    Args:
        signal: `[c, time]` in [-1, 1] at `sample_rate` Hz.
        folder: where their files go.
        ladders: rates by the names of codecs, instead of their own; others are left out.
    """
    for codec in speech_codecs(sample_rate):
        for rate in codec.ladder if ladders is None else ladders.get(codec.name, ()):
            yield attempt(codec.name, partial(codec.run, signal, sample_rate, folder, rate))


def speech_codecs(sample_rate: int) -> list[SpeechCodec]:
    """What this machine has for sound of `sample_rate` Hz."""
    low_rates = (6000, 8000, 12000, 16000)
    if has_opus_tools():
        found = [SpeechCodec("Opus", _OPUS_BPS, low_rates, opus)]
    elif has_library_opus(sample_rate):
        found = [SpeechCodec("Opus", _OPUS_BPS, low_rates, library_opus)]
    else:
        found = [SpeechCodec("MP3", (0,), (0,), library_mp3)]
    if has_codec2():
        found.append(SpeechCodec("Codec2", tuple(_CODEC2_MODES), (700, 1300, 1600, 2400, 3200), codec2))
    if has_lyra():
        found.append(SpeechCodec("Lyra v2", LYRA_BPS, LYRA_BPS, lyra))
    return found


def has_opus_tools() -> bool:
    """Whether the programs `opusenc` and `opusdec` (Debian: opus-tools) are here."""
    return bool(shutil.which("opusenc") and shutil.which("opusdec"))


def has_codec2() -> bool:
    """Whether the programs `c2enc` and `c2dec` (Debian: codec2) are here."""
    return bool(shutil.which("c2enc") and shutil.which("c2dec"))


def has_library_opus(sample_rate: int) -> bool:
    """Whether libsndfile writes Opus, and at this rate."""
    return soundfile.check_format("OGG", "OPUS") and sample_rate in (8000, 12000, 16000, 24000, 48000)


def opus(signal: Tensor, sample_rate: int, folder: Path, channel_bps: int) -> RivalResult:
    """Opus at a constant bitrate by `opusenc --hard-cbr`, without padding or comments."""
    bitrate_bps = channel_bps * len(signal)
    source, coded, decoded = (
        folder / "opus-in.wav",
        folder / f"opus-{bitrate_bps}.opus",
        folder / "opus-out.wav",
    )
    write_audio(source, signal, sample_rate)
    kbps = f"{bitrate_bps / 1000:g}"
    options = ["--hard-cbr", "--bitrate", kbps, "--padding", "0", "--discard-comments"]
    encode_s = run_program("opusenc", "--quiet", *options, source, coded)
    decode_s = run_program("opusdec", "--quiet", "--rate", str(sample_rate), coded, decoded)
    result, _ = read_audio(decoded, sample_rate=sample_rate)
    return RivalResult("Opus", f"{kbps} kbit/s", coded, coded.stat().st_size, result, encode_s, decode_s)


def library_opus(signal: Tensor, sample_rate: int, folder: Path, channel_bps: int) -> RivalResult:
    """Opus by libsndfile: variable bitrate only, its compression level spans 6 to 256 kbit/s per channel."""
    coded, setting = folder / f"sndfile-{channel_bps}.opus", f"about {channel_bps * len(signal) / 1000:g} kbit/s"
    level = 1 - (channel_bps - _OPUS_BPS[0]) / (_OPUS_BPS[-1] - _OPUS_BPS[0])
    return _by_libsndfile("Opus", setting, signal, sample_rate, coded, "OGG", "OPUS", level)


def library_mp3(signal: Tensor, sample_rate: int, folder: Path, channel_bps: int) -> RivalResult:
    """MP3 by libsndfile at the lowest constant bitrate of that sample rate."""
    coded = folder / "sndfile.mp3"
    return _by_libsndfile("MP3", "lowest bitrate", signal, sample_rate, coded, "MP3", "MPEG_LAYER_III", 0.99)


def codec2(signal: Tensor, sample_rate: int, folder: Path, channel_bps: int) -> RivalResult:
    """Codec2 in the mode of that bitrate: 8 kHz speech, channel by channel, headerless."""
    mode = _CODEC2_MODES[channel_bps]

    def code(channel: NDArray[np.float64], index: int) -> Voice:
        raw, coded, back = folder / "codec2-in.raw", folder / f"codec2-{mode}-{index}.bit", folder / "codec2-out.raw"
        whole = np.pad(channel, (0, -len(channel) % _CODEC2_FRAME))
        raw.write_bytes(np.rint(whole * 32767).clip(-32768, 32767).astype("<i2").tobytes())
        encode_s = run_program("c2enc", mode, raw, coded)
        decode_s = run_program("c2dec", mode, coded, back)
        return Voice(coded, np.frombuffer(back.read_bytes(), "<i2") / 32768, encode_s, decode_s)

    setting, note = f"mode {mode}", "8 kHz, parametric"
    return channelwise(signal, sample_rate, _CODEC2_RATE, code, name="Codec2", setting=setting, note=note)


def _by_libsndfile(
    name: str,
    setting: str,
    signal: Tensor,
    rate: int,
    coded: Path,
    container: str,
    subtype: str,
    level: float,
) -> RivalResult:
    mode = "CONSTANT" if container == "MP3" else None
    start = time.perf_counter()
    soundfile.write(
        coded, signal.T.numpy(), rate, subtype, format=container, compression_level=level, bitrate_mode=mode
    )
    encode_s = time.perf_counter() - start
    start = time.perf_counter()
    decoded, _ = read_audio(coded, sample_rate=rate)
    decode_s = time.perf_counter() - start
    return RivalResult(name, setting, coded, coded.stat().st_size, decoded, encode_s, decode_s, "by libsndfile")
