"""Rate-distortion curves: as records that other tools read, what lies between their points, and how far two differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

from codec.eval.axes import AXES

_CUBIC = 3
_NOTHING = {"mean": None, "low": None, "high": None}


def curve_record(name: str, description: str, summaries: Sequence[dict[str, Any]], *, media: str) -> dict[str, Any]:
    """Summaries of one codec, one per rate, as a curve; that of pictures is in the layout of CompressAI's result files.

    Args:
        summaries: what `evaluate` says at each rate, or `Tally.summary`.
        media: a key of `AXES`.

    Returns:
        `name`, `description`, `media`; `results`, whose lists have an entry per rate; and `intervals`, the ends of the
        95 % interval of each mean. Of pictures the results are `bpp` (mean over pictures of each one's own bits per
        pixel), `bpp-corpus` (all bits / all pixels), `psnr-rgb` in dB, `ms-ssim-rgb` and `ssim-rgb` (means over
        pictures), `encoding_time` and `decoding_time` in s a picture. Of sound they are `bitrate_bps` (all bits / all
        seconds), every score by its name, and the real-time factors. A score that no item has is null.
    """
    axes = AXES[media]
    found = {
        title: [summary["scores"].get(score) or _NOTHING for summary in summaries]
        for title, score in axes.scores.items()
    }
    results = {
        axes.title: [summary[axes.summary_rate] for summary in summaries],
        **{title: [score["mean"] for score in scores] for title, scores in found.items()},
        **{title: [read(summary) for summary in summaries] for title, read in axes.others.items()},
    }
    intervals = {title: [[score["low"], score["high"]] for score in scores] for title, scores in found.items()}
    return {"name": name, "description": description, "media": media, "results": results, "intervals": intervals}


@dataclass(frozen=True)
class Curve:
    """Quality over rate, both `[points]`; rates rise, and are bits per pixel or per second above 0."""

    rates: NDArray[np.float64]
    qualities: NDArray[np.float64]

    @classmethod
    def through(cls, points: Sequence[tuple[float | None, float | None]]) -> Curve:
        """The curve through points of (rate, quality) in any order; where either is None there is no point."""
        found = sorted(point for point in points if None not in point)
        rates, qualities = np.array(found, dtype=np.float64).reshape(-1, 2).T
        return cls(rates, qualities)

    @classmethod
    def of(cls, record: dict[str, Any], metric: str) -> Curve:
        """The curve of one of a record's `results`."""
        rates = record["results"][AXES[record["media"]].title]
        return cls.through(list(zip(rates, record["results"][metric], strict=True)))

    @classmethod
    def drawn(cls, record: dict[str, Any], metric: str) -> Curve:
        """The same, in dB where it crowds towards 1."""
        curve = cls.of(record, metric)
        return curve.in_decibels() if metric in AXES[record["media"]].similarities else curve

    def at(self, rate: float) -> float | None:
        """Quality at `rate`, on straight lines over log(rate); None beyond the ends."""
        if not len(self.rates) or not self.rates[0] <= rate <= self.rates[-1]:
            return None
        return float(np.interp(np.log(rate), np.log(self.rates), self.qualities))

    def in_decibels(self) -> Curve:
        """A similarity of at most 1 as -10 log10(1 - similarity), without the points that are perfect."""
        flawed = self.qualities < 1
        return Curve(self.rates[flawed], decibels(self.qualities[flawed]))


def decibels(similarity: NDArray[np.float64]) -> NDArray[np.float64]:
    """-10 log10(1 - similarity), which spreads out what crowds towards 1."""
    return -10 * np.log10(1 - similarity)


def bd_rate(ours: Curve, theirs: Curve) -> float | None:
    """Percent of bits that `ours` takes more (fewer if negative) than `theirs` for the same quality, on average.

    A cubic of log(rate) over quality is laid through each curve and both are integrated over the qualities that the
    two share (Bjontegaard 2001, VCEG-M33). Of points outside these only the nearest on each side are used. None where
    no quality is shared or a curve has fewer than the four points that a cubic takes.
    """
    low = max(curve.qualities.min(initial=np.inf) for curve in (ours, theirs))
    high = min(curve.qualities.max(initial=-np.inf) for curve in (ours, theirs))
    if not low < high:
        return None
    areas = []
    for curve in (ours, theirs):
        order = np.argsort(curve.qualities)
        qualities, rates = curve.qualities[order], np.log(curve.rates[order])
        first = max(0, np.searchsorted(qualities, low, side="right") - 1)
        last = np.searchsorted(qualities, high)
        near = slice(first, last + 1)
        if len(qualities[near]) <= _CUBIC:
            return None
        area = Polynomial.fit(qualities[near], rates[near], _CUBIC).integ()
        areas.append(area(high) - area(low))
    return 100 * float(np.expm1((areas[0] - areas[1]) / (high - low)))
