"""Classical codecs on the same signals: Opus and Codec2 for speech, JPEG, WebP and AVIF for pictures.

Every rival writes a real file, whose bytes count, and decodes that file again. A rival whose encoder is not
on this machine is left out; one that is here and fails is a `RivalFailure`.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from PIL import Image, features
from torch import Tensor

from codec.core.errors import UserError
from codec.data.audio import read_audio, write_audio
from codec.data.image import read_image, write_image

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
_PICTURE_FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "jpg": ("JPEG", {"optimize": True}),
    "webp": ("WebP", {"method": 4}),
    "avif": ("AVIF", {"speed": 6}),
}
_TIMEOUT_S = 600
_SEARCH_PIXELS = 1_000_000


@dataclass(frozen=True)
class RivalResult:
    """What a rival made of one signal.

    Attributes:
        name: of the codec.
        setting: the one thing that was chosen, in words.
        path: the compressed file.
        num_bytes: its size on disk.
        signal: decoded, `[c, time]` at the rate it was given, or `[3, height, width]`.
        encode_s, decode_s: seconds, the start of the program included.
        note: what to know when comparing.
    """

    name: str
    setting: str
    path: Path
    num_bytes: int
    signal: Tensor
    encode_s: float
    decode_s: float
    note: str = ""


@dataclass(frozen=True)
class RivalFailure:
    """A rival that is here and could not code the signal, and why."""

    name: str
    reason: str


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
        results.append(_attempt("Opus", lambda: opus(signal, sample_rate, folder, bitrate_bps=opus_bps)))
    elif has_library_opus(sample_rate):
        results.append(_attempt("Opus", lambda: library_opus(signal, sample_rate, folder, bitrate_bps=opus_bps)))
    else:
        results.append(_attempt("MP3", lambda: library_mp3(signal, sample_rate, folder)))
    if has_codec2():
        per_channel = bitrate_bps / len(signal)
        mode = min(_CODEC2_MODES, key=lambda mode: abs(_CODEC2_MODES[mode] - per_channel))
        results.append(_attempt("Codec2", lambda: codec2(signal, sample_rate, folder, mode=mode)))
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
    encode_s = _run("opusenc", "--quiet", *options, source, coded)
    decode_s = _run("opusdec", "--quiet", "--no-dither", "--rate", str(sample_rate), coded, decoded)
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
        encode_s += _run("c2enc", mode, raw, coded)
        decode_s += _run("c2dec", mode, coded, back)
        num_bytes += coded.stat().st_size
        decoded = np.frombuffer(back.read_bytes(), "<i2") / 32768
        wide = decoded if sample_rate == _CODEC2_RATE else soxr.resample(decoded, _CODEC2_RATE, sample_rate)
        pieces.append(_fitted(wide, len(channel)))
    result = torch.from_numpy(np.stack(pieces)).float()
    return RivalResult("Codec2", f"mode {mode}", coded, num_bytes, result, encode_s, decode_s, "8 kHz, parametric")


def image_rivals(signal: Tensor, folder: Path, *, num_bytes: int) -> list[RivalResult | RivalFailure]:
    """JPEG, WebP and AVIF where Pillow has them, each at the quality whose file is nearest to `num_bytes`.

    Args:
        signal: `[3, height, width]` in [-1, 1].
    """
    return [
        _attempt(title, lambda name=name: image_rival(name, signal, folder, num_bytes=num_bytes))
        for name, (title, _) in _PICTURE_FORMATS.items()
        if features.check(name)
    ]


def image_rival(name: str, signal: Tensor, folder: Path, *, num_bytes: int) -> RivalResult:
    """One of "jpg", "webp", "avif" at the quality (1 to 95) whose file is nearest in size to `num_bytes`.

    The quality of a large picture is looked for on a million of its pixels, and then used on all of it.
    """
    write_image(original := folder / "rival-in.png", signal)
    with Image.open(original) as opened:
        picture = opened.convert("RGB")
    title, options = _PICTURE_FORMATS[name]

    def compress(image: Image.Image, quality: int) -> bytes:
        image.save(buffer := io.BytesIO(), title.upper(), quality=quality, **options)
        return buffer.getvalue()

    sample = _bands(picture)
    wanted = round(num_bytes * sample.height / picture.height)
    quality = nearest_quality(lambda quality: len(compress(sample, quality)), wanted)
    start = time.perf_counter()
    content = compress(picture, quality)
    encode_s = time.perf_counter() - start
    coded = folder / f"rival.{name}"
    coded.write_bytes(content)
    start = time.perf_counter()
    decoded = read_image(coded).signal
    decode_s = time.perf_counter() - start
    note = "as small as it gets" if quality == 1 and len(content) > 1.05 * num_bytes else ""
    return RivalResult(title, f"quality {quality}", coded, len(content), decoded, encode_s, decode_s, note)


def _attempt(name: str, run: Callable[[], RivalResult]) -> RivalResult | RivalFailure:
    """What `run` gives; a codec that breaks down is not to take the whole evaluation with it."""
    try:
        return run()
    except (UserError, OSError, RuntimeError, subprocess.SubprocessError) as error:  # Libsndfile's is a RuntimeError
        return RivalFailure(name, " ".join(str(error).split()))


def _bands(picture: Image.Image) -> Image.Image:
    """The picture, or evenly spread bands of 64 rows that hold about a million of its pixels."""
    count = max(1, _SEARCH_PIXELS // (64 * picture.width))
    if picture.height <= 2 * 64 * count:
        return picture
    result = Image.new("RGB", (picture.width, 64 * count))
    for band in range(count):
        top = (picture.height - 64) * band // max(1, count - 1)
        result.paste(picture.crop((0, top, picture.width, top + 64)), (0, 64 * band))
    return result


def nearest_quality(size_at: Callable[[int], int], wanted: int, *, lowest: int = 1, highest: int = 95) -> int:
    """The quality whose size is nearest to `wanted`, by bisection; sizes grow with quality."""
    sizes: dict[int, int] = {}

    def size(quality: int) -> int:
        if quality not in sizes:
            sizes[quality] = size_at(quality)
        return sizes[quality]

    low, high = lowest, highest
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(middle) <= wanted else (low, middle)
    return min((low, high), key=lambda quality: (abs(size(quality) - wanted), quality))


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


def _run(program: str, *arguments: str | Path) -> float:
    """Run a program and return the seconds it took; its complaint is the error."""
    start = time.perf_counter()
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode:
        complaint = done.stderr.decode(errors="replace").strip().splitlines()
        raise RuntimeError(f"{program} failed: {complaint[-1] if complaint else f'exit code {done.returncode}'}")
    return time.perf_counter() - start
