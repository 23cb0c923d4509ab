"""Evaluations as tables."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.table import Table

from codec.metrics import SCORE_TITLES, SCORE_UNITS

CURVE_TITLES = {"psnr-rgb": "PSNR dB", "ms-ssim-rgb": "MS-SSIM"}
CURVE_DIGITS = {"psnr-rgb": 2, "ms-ssim-rgb": 4}
MOST_BOOKS = 8  # codebooks whose usage is told below a table


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
        speeds = [
            summary[f"{way}_{'times_real_time' if audio else 'megapixels_per_s'}"] for way in ("encode", "decode")
        ]
        scores = [_with_interval(summary["scores"].get(name)) for name in names]
        table.add_row(codec, rate, *scores, *(f"{speed:.3g}" for speed in speeds))
    frechet = report["frechet_distance"]
    distance = [f"Frechet distance {frechet:.4g}"] if frechet is not None else []
    table.caption = "; ".join([_usage(report["codebooks"]), *distance, *_failures(report["failed"])])
    return table


def curve_tables(report: dict[str, Any]) -> list[Table]:
    """`rate_distortion`'s report for the terminal, a table for each of `CURVE_TITLES`."""
    last, tables = report["rates"][-1], []
    for metric in CURVE_TITLES:
        headings, rows = curve_rows(report, metric)
        tables.append(table := Table(title_justify="left"))
        for heading in headings:
            table.add_column(heading, justify="right")
        for row in rows:
            table.add_row(*row)
    failed = [failure for part in (*report["rates"], report) for failure in part["failed"]]
    tables[0].title = f"{report['name']} on {last['summary']['items']} pictures"
    tables[-1].caption = "; ".join([_usage(last["codebooks"]), *_failures(failed)])
    return tables


def curve_rows(report: dict[str, Any], metric: str) -> tuple[list[str], list[list[str]]]:
    """`rate_distortion`'s report about one of `CURVE_TITLES` in words: headings, and a row per rate.

    Under a rival's name stands how far ours lies above its curve at the same rate, and in a last row how many percent
    more bits ours takes for the same quality (`bd_rate`).
    """
    rivals, results, digits = report["comparison"], report["results"], CURVE_DIGITS[metric]
    headings = ["codebooks", "bit/px", CURVE_TITLES[metric], *(f"vs {name}" for name in rivals)]
    rows = [
        [
            str(number),
            f"{results['bpp'][index]:.3f}",
            _number(results[metric][index], f".{digits}f"),
            *(_number(found[metric]["difference"][index], f"+.{digits}f") for found in rivals.values()),
        ]
        for index, number in enumerate(results["num_active"])
    ]
    if rivals:
        rows.append(
            ["BD-rate %", "", "", *(_number(rivals[name][metric]["bd_rate_percent"], "+.1f") for name in rivals)]
        )
    return headings, rows


def _number(value: float | None, digits: str) -> str:
    return "-" if value is None else format(value, digits)


def _usage(codebooks: list[dict[str, Any]]) -> str:
    used = [f"{book['usage']:.0%} (perplexity {book['perplexity']:.0f})" for book in codebooks[:MOST_BOOKS]]
    others = [f"{len(codebooks) - len(used)} more in the JSON"] if len(codebooks) > len(used) else []
    return "codebook usage: " + ", ".join([*used, *others])


def _failures(failed: list[dict[str, Any]]) -> list[str]:
    counts = Counter(failure["codec"] for failure in failed)
    return [f"{codec} failed on {count} item{'s' * (count > 1)}" for codec, count in counts.items()]


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
