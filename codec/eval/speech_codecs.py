"""Classical codecs of speech on the same signals: Opus, Codec2, and MP3 where there is no Opus."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from codec.data.audio import read_audio, write_audio
from codec.eval.rivals import RivalFailure, RivalResult, attempt, run_program

_OPUS_BPS = (6000, 256000)  # per channel, the least and the most opusenc takes
_CODEC2_MODES = {
    "3200": 3200,
    "2400": 2400,
    "1600": 1600,
    "1400": 1400,
    "1300": 1300,
    "1200": 1200,
    "700C": 700,
}
_CODEC2_RATE = 8000
_CODEC2_FRAME = 320  # samples; the longest frame of any mode


def speech_rivals(
    signal: Tensor, sample_rate: int, folder: Path, *, bitrate_bps: float
) -> list[RivalResult | RivalFailure]:
    """Opus and Codec2, each at the legal bitrate nearest to `bitrate_bps`, where present.

    Args:
        signal: `[c, time]` in [-1, 1] at `sample_rate` Hz.
        folder: where their files go.
    """
    results = []
    least, most = (len(signal) * bound for bound in _OPUS_BPS)
    opus_bps = min(most, max(least, round(bitrate_bps / 1000) * 1000))
    if has_opus_tools():
        results.append(attempt("Opus", lambda: opus(signal, sample_rate, folder, bitrate_bps=opus_bps)))
    elif has_library_opus(sample_rate):
        results.append(attempt("Opus", lambda: library_opus(signal, sample_rate, folder, bitrate_bps=opus_bps)))
    else:
        results.append(attempt("MP3", lambda: library_mp3(signal, sample_rate, folder)))
    if has_codec2():
        per_channel = bitrate_bps / len(signal)
        mode = min(_CODEC2_MODES, key=lambda mode: abs(_CODEC2_MODES[mode] - per_channel))
        results.append(attempt("Codec2", lambda: codec2(signal, sample_rate, folder, mode=mode)))
    return results


def has_opus_tools() -> bool:
    """Whether the programs `opusenc` and `opusdec` (Debian: opus-tools) are here."""
    return bool(shutil.which("opusenc") and shutil.which("opusdec"))


def has_codec2() -> bool:
    """Whether the programs `c2enc` and `c2dec` (Debian: codec2) are here."""
    return bool(shutil.which("c2enc") and shutil.which("c2dec"))


def has_library_opus(sample_rate: int) -> bool:
    """Whether libsndfile writes Opus, and at this rate."""
    return soundfile.check_format("OGG", "OPUS") and sample_rate in (8000, 12000, 16000, 24000, 48000)


def opus(signal: Tensor, sample_rate: int, folder: Path, *, bitrate_bps: int) -> RivalResult:
    """Opus at a constant bitrate by `opusenc --hard-cbr`, without padding or comments."""
    source, coded, decoded = (
        folder / "opus-in.wav",
        folder / f"opus-{bitrate_bps}.opus",
        folder / "opus-out.wav",
    )
    write_audio(source, signal, sample_rate)
    kbps = f"{bitrate_bps / 1000:g}"
    options = ["--hard-cbr", "--bitrate", kbps, "--padding", "0", "--discard-comments"]
    encode_s = run_program("opusenc", "--quiet", *options, source, coded)
    decode_s = run_program("opusdec", "--quiet", "--no-dither", "--rate", str(sample_rate), coded, decoded)
    result, _ = read_audio(decoded, sample_rate=sample_rate)
    return RivalResult("Opus", f"{kbps} kbit/s", coded, coded.stat().st_size, result, encode_s, decode_s)


def library_opus(signal: Tensor, sample_rate: int, folder: Path, *, bitrate_bps: int) -> RivalResult:
    """Opus by libsndfile: variable bitrate only, its compression level spans 6 to 256 kbit/s per channel."""
    coded = folder / f"sndfile-{bitrate_bps}.opus"
    level = min(1.0, max(0.0, 1 - (bitrate_bps / len(signal) / 1000 - 6) / 250))
    return _by_libsndfile(
        "Opus", f"about {bitrate_bps / 1000:g} kbit/s", signal, sample_rate, coded, "OGG", "OPUS", level
    )


def library_mp3(signal: Tensor, sample_rate: int, folder: Path) -> RivalResult:
    """MP3 by libsndfile at the lowest constant bitrate of that sample rate."""
    coded = folder / "sndfile.mp3"
    return _by_libsndfile("MP3", "lowest bitrate", signal, sample_rate, coded, "MP3", "MPEG_LAYER_III", 0.99)


def codec2(signal: Tensor, sample_rate: int, folder: Path, *, mode: str) -> RivalResult:
    """Codec2 in one of its modes (bit/s): 8 kHz speech, channel by channel, headerless."""
    pieces, encode_s, decode_s, num_bytes = [], 0.0, 0.0, 0
    coded = folder / f"codec2-{mode}.bit"
    for channel in signal.double().numpy():
        narrow = channel if sample_rate == _CODEC2_RATE else soxr.resample(channel, sample_rate, _CODEC2_RATE)
        whole = np.pad(narrow, (0, -len(narrow) % _CODEC2_FRAME))
        raw, back = folder / "codec2-in.raw", folder / "codec2-out.raw"
        raw.write_bytes(np.rint(whole * 32767).clip(-32768, 32767).astype("<i2").tobytes())
        encode_s += run_program("c2enc", mode, raw, coded)
        decode_s += run_program("c2dec", mode, coded, back)
        num_bytes += coded.stat().st_size
        decoded = np.frombuffer(back.read_bytes(), "<i2") / 32768
        wide = decoded if sample_rate == _CODEC2_RATE else soxr.resample(decoded, _CODEC2_RATE, sample_rate)
        pieces.append(_fitted(wide, len(channel)))
    result = torch.from_numpy(np.stack(pieces)).float()
    return RivalResult("Codec2", f"mode {mode}", coded, num_bytes, result, encode_s, decode_s, "8 kHz, parametric")


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


def _fitted(row: np.ndarray, length: int) -> np.ndarray:
    return np.pad(row[:length], (0, max(0, length - len(row))))
