"""Sums over items, and what they come to."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from codec.eval.interval import mean_interval
from codec.eval.items import Item
from codec.metrics import Score


class Tally:
    """Adds up one codec's items, all of one medium."""

    def __init__(self) -> None:
        self._audio = True
        self._bytes = 0
        self._extent = self._encode_s = self._decode_s = 0.0
        self._rates: list[float] = []
        self._scores: dict[str, list[Score]] = {}

    def add(self, item: Item) -> None:
        """Take in an item; none of its signals is kept."""
        self._audio = item.is_audio
        self._bytes += item.num_bytes
        self._extent += item.extent
        self._encode_s += item.encode_s
        self._decode_s += item.decode_s
        self._rates.append(item.rate)
        for name, score in item.scores.items():
            self._scores.setdefault(name, []).append(score)

    @property
    def count(self) -> int:
        """Items so far."""
        return len(self._rates)

    def summary(self) -> dict[str, Any]:
        """Totals, rate of the whole corpus and mean rate of an item, speed, and every score's mean and interval."""
        rate, extent = ("bitrate_bps", "duration_s") if self._audio else ("bits_per_pixel", "pixels")
        work, unit = (self._extent, "times_real_time") if self._audio else (self._extent / 1e6, "megapixels_per_s")
        return {
            "items": self.count,
            "bytes": self._bytes,
            extent: self._extent,
            rate: 8 * self._bytes / self._extent,
            f"mean_{rate}": sum(self._rates) / self.count,
            "encode_s": self._encode_s,
            "decode_s": self._decode_s,
            f"encode_{unit}": work / max(self._encode_s, 1e-9),
            f"decode_{unit}": work / max(self._decode_s, 1e-9),
            "scores": {name: _mean(scores) for name, scores in self._scores.items()},
        }


def _mean(scores: list[Score]) -> dict[str, Any] | None:
    """Mean and interval of the finite scores, and the number of perfect ones; None if there are neither."""
    interval, perfect = mean_interval(score.finite for score in scores), sum(score.perfect for score in scores)
    if interval is None:
        return {"mean": None, "low": None, "high": None, "count": 0, "perfect": perfect} if perfect else None
    return {**asdict(interval), "perfect": perfect}
