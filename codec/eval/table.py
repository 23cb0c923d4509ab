"""An evaluation as a table for the terminal."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.table import Table

from codec.metrics import SCORE_TITLES, SCORE_UNITS


def evaluation_table(report: dict[str, Any]) -> Table:
    """The summaries of `evaluate`'s report, the model first: means, with half the width of their interval."""
    audio = report["media"] == "audio"
    names = [name for name, found in report["summary"]["scores"].items() if found]
    table = Table(title=f"{report['model']} on {report['summary']['items']} items", title_justify="left")
    table.add_column("codec")
    for title in ("kbit/s" if audio else "bit/px", *(_title(name) for name in names)):
        table.add_column(title, justify="right")
    unit = "x real time" if audio else "Mpx/s"
    table.add_column(f"encode {unit}", justify="right")
    table.add_column(f"decode {unit}", justify="right")
    for codec, summary in {report["model"]: report["summary"], **report["rivals"]}.items():
        rate = f"{summary['bitrate_bps'] / 1000:.2f}" if audio else f"{summary['bits_per_pixel']:.3f}"
        speeds = [value for key, value in summary.items() if key.startswith(("encode_", "decode_"))]
        scores = [_with_interval(summary["scores"].get(name)) for name in names]
        table.add_row(codec, rate, *scores, *(f"{speed:.3g}" for speed in speeds))
    used = [f"{book['usage']:.0%} (perplexity {book['perplexity']:.0f})" for book in report["codebooks"]]
    failed = Counter(failure["codec"] for failure in report["failed"])
    failures = [f"{codec} failed on {count} item{'s' * (count > 1)}" for codec, count in failed.items()]
    table.caption = "; ".join(["codebook usage: " + ", ".join(used), *failures])
    return table


def _title(name: str) -> str:
    return f"{SCORE_TITLES[name]} {SCORE_UNITS.get(name, '')}".rstrip()


def _with_interval(found: dict[str, float] | None) -> str:
    """The mean of what is finite, and beside it how many items were perfect."""
    if not found:
        return "-"
    perfect = f"{found['perfect']} perfect" if found["perfect"] else ""
    if not found["count"]:
        return perfect
    digits = 3 if abs(found["mean"]) < 1.5 else 2
    mean = f"{found['mean']:.{digits}f} ±{(found['high'] - found['low']) / 2:.{digits}f}"
    return f"{mean}, {perfect}" if perfect else mean
