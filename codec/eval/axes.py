"""What a rate-distortion curve is drawn over, for pictures and for sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Axes:
    """The rate and the scores of one medium.

    Attributes:
        item, items: what is coded, in words.
        rate: the name of the rate in an `Item.row`; `summary_rate` in a summary, `title` in a curve's results.
        unit: of the rate for people; `per_unit` of what is stored make one.
        rate_digits: decimals that are shown.
        others: what else a curve's results hold, by title, out of a summary.
        scores: names of scores by their titles in a curve's results.
        headings: for people, of the titles that are tabled and drawn; `digits` their decimals.
        similarities: titles of scores that crowd towards 1: drawn, and integrated for `bd_rate`, in dB.
        sparse: whether rivals have few settings, all of which a drawing shows with their intervals.
    """

    item: str
    items: str
    rate: str
    summary_rate: str
    title: str
    unit: str
    per_unit: float
    rate_digits: int
    others: Mapping[str, Callable[[dict[str, Any]], float]]
    scores: Mapping[str, str]
    headings: Mapping[str, str]
    digits: Mapping[str, int]
    similarities: frozenset[str] = frozenset()
    sparse: bool = False


_PICTURES = Axes(
    item="picture",
    items="pictures",
    rate="bits_per_pixel",
    summary_rate="mean_bits_per_pixel",
    title="bpp",
    unit="bit/px",
    per_unit=1.0,
    rate_digits=3,
    others={
        "bpp-corpus": lambda summary: summary["bits_per_pixel"],
        "encoding_time": lambda summary: summary["encode_s"] / summary["items"],
        "decoding_time": lambda summary: summary["decode_s"] / summary["items"],
    },
    scores={"psnr-rgb": "psnr", "ms-ssim-rgb": "ms_ssim", "ssim-rgb": "ssim"},
    headings={"psnr-rgb": "PSNR dB", "ms-ssim-rgb": "MS-SSIM"},
    digits={"psnr-rgb": 2, "ms-ssim-rgb": 4},
    similarities=frozenset(("ms-ssim-rgb",)),
)
_SOUND = Axes(
    item="recording",
    items="recordings",
    rate="bitrate_bps",
    summary_rate="bitrate_bps",
    title="bitrate_bps",
    unit="kbit/s",
    per_unit=1000.0,
    rate_digits=2,
    others={
        "encode_times_real_time": lambda summary: summary["encode_times_real_time"],
        "decode_times_real_time": lambda summary: summary["decode_times_real_time"],
    },
    scores={name: name for name in ("pesq", "stoi", "visqol", "si_sdr", "mel_distance", "stft_distance", "wer")},
    headings={"pesq": "PESQ", "stoi": "STOI"},
    digits={"pesq": 2, "stoi": 3},
    sparse=True,
)
AXES: Mapping[str, Axes] = {"image": _PICTURES, "audio": _SOUND}
"""By `media.kind`."""
