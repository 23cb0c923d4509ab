"""What the figures mean, in a sentence each."""

from __future__ import annotations

from collections.abc import Collection

_BOTH = (
    ("bytes", "Size of the compressed file on disk, header and all."),
    ("smaller", "How many times smaller that is than the uncompressed signal."),
)
_AUDIO = (
    ("kbit/s", "Thousands of bits on disk per second of sound. A telephone call takes about 64."),
    ("PESQ", "Predicted quality of speech (ITU-T P.862.2), 1.0 bad to 4.6 transparent."),
    ("STOI", "Predicted intelligibility of speech, 0 to 1; above about 0.9 every word is understood."),
    ("ViSQOL", "Another prediction of quality, 1 bad to 5 excellent, from the similarity of spectrograms."),
    (
        "encode, decode",
        "Wall-clock time from file to file, and in brackets how many times faster than real time (the "
        "real-time factor); for programs this includes their start.",
    ),
)
_IMAGE = (
    ("bit/pixel", "Bits on disk per pixel; uncompressed pictures take 24."),
    ("PSNR", "Peak signal-to-noise ratio in dB: about 25 is rough, 30 fair, above 40 hard to tell apart."),
    ("MS-SSIM", "Structural similarity over five scales, at most 1; closer to what eyes mind than PSNR."),
    ("encode, decode", "Wall-clock time, and megapixels per second."),
)


def explained(kinds: Collection[bool]) -> list[tuple[str, str]]:
    """Terms with their meaning; `kinds` holds True if there is sound, False if there are pictures."""
    entries = [*_BOTH]
    if True in kinds:
        entries += _AUDIO
    if False in kinds:
        entries += _IMAGE if True not in kinds else _IMAGE[:-1]
    return entries
