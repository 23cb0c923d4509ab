"""A figure of merit that may be absent, and then says why."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

SCORE_TITLES = {
    "pesq": "PESQ",
    "stoi": "STOI",
    "visqol": "ViSQOL",
    "si_sdr": "SI-SDR",
    "mel_distance": "mel",
    "stft_distance": "STFT",
    "wer": "WER",
    "psnr": "PSNR",
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
}
SCORE_UNITS = {"si_sdr": "dB", "mel_distance": "dB", "stft_distance": "dB", "psnr": "dB"}


@dataclass(frozen=True)
class Score:
    """One figure.

    Attributes:
        value: the figure (`inf` for a perfect reconstruction in dB), or None where it is not defined.
        note: why it is absent, or what to know when reading it.
    """

    value: float | None
    note: str = ""

    @property
    def finite(self) -> float | None:
        """The value when JSON can carry it, else None."""
        return self.value if self.value is not None and math.isfinite(self.value) else None

    @property
    def perfect(self) -> bool:
        """Whether nothing was lost, so that a figure in dB has no bound."""
        return self.value == math.inf


def mean_score(scores: Iterable[Score]) -> Score:
    """The mean of the scores that are present; if none is, the reason of the first."""
    scores = list(scores)
    values = [score.value for score in scores if score.value is not None]
    note = next((score.note for score in scores if score.note), "")
    if not values:
        return Score(None, note or "nothing to score")
    return Score(math.fsum(values) / len(values) if all(map(math.isfinite, values)) else max(values), note)
