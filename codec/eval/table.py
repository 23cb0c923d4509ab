"""Evaluations as tables."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from codec.core.wording import counted
from codec.eval.axes import AXES
from codec.metrics import SCORE_TITLES, SCORE_UNITS

CURVE_TITLES = AXES["image"].headings
MOST_BOOKS = 8  # codebooks whose usage is told below a table


def evaluation_table(report: dict[str, Any]) -> Table:
    """The summaries of `evaluate`'s report, the model first: means, with half the width of their interval."""
    audio = report["media"] == "audio"
    names = [name for name, found in report["summary"]["scores"].items() if found]
    table = Table(title=f"{report['model']} on {counted(report['summary']['items'], 'item')}", title_justify="left")
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
    remarks = [*_failures(report["failed"]), *_caveats(report["items"])]
    table.caption = "; ".join([_usage(report["codebooks"]), *distance, *remarks])
    return table


def curve_tables(report: dict[str, Any]) -> list[Table]:
    """`rate_distortion`'s report for the terminal: every point of every codec, then a table for each score drawn."""
    axes, last = AXES[report["media"]], report["rates"][-1]
    tables = [_table(*point_rows(report)), *(_table(*curve_rows(report, metric)) for metric in axes.headings)]
    failed = [failure for part in (*report["rates"], report) for failure in part["failed"]]
    tables[0].title = f"{report['name']} on {last['summary']['items']} {axes.items}"
    tables[-1].caption = "; ".join([_usage(last["codebooks"]), *_failures(failed), *_caveats(last["items"])])
    return tables


def _caveats(rows: list[dict[str, Any]]) -> list[str]:
    """What has to be known of scores that are there, such as that one reads high."""
    found = {(name, note) for row in rows for name, note in row["notes"].items() if row["scores"][name] is not None}
    return [f"{_title(name)}: {note}" for name, note in sorted(found)]


def point_rows(report: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Headings, and a row for every point of every curve of `rate_distortion`'s report.

    Means of all scores, those that are drawn with half the width of their interval; and what else the curve holds.
    """
    axes = AXES[report["media"]]
    titles = [title for title in axes.scores if any(value is not None for value in report["results"][title])]
    headings = ["codec", "setting", axes.unit, *(_title(axes.scores[title]) for title in titles)]
    headings += [title.partition("_")[0] for title in axes.others]
    numbers = report["results"]["num_active"]
    settings = [counted(number, "codebook") for number in numbers]
    rows = []
    for record in ({**report, "settings": settings}, *report["rivals"]):
        results, intervals = record["results"], record["intervals"]
        for index, setting in enumerate(record["settings"]):
            scores = [
                _spread(results[title][index], intervals[title][index])
                if title in axes.headings
                else _number(results[title][index], ".2f")
                for title in titles
            ]
            others = [f"{results[title][index]:.3g}" for title in axes.others]
            rate = f"{results[axes.title][index] / axes.per_unit:.{axes.rate_digits}f}"
            rows.append([record["name"], setting, rate, *scores, *others])
    return headings, rows


def curve_rows(report: dict[str, Any], metric: str) -> tuple[list[str], list[list[str]]]:
    """`rate_distortion`'s report about one of `Axes.headings` in words: headings, and a row per rate.

    Under a rival's name stands how far ours lies above its curve at the same rate, and in a last row how many percent
    more bits ours takes for the same quality (`bd_rate`).
    """
    axes, rivals, results = AXES[report["media"]], report["comparison"], report["results"]
    digits = axes.digits[metric]
    headings = ["codebooks", axes.unit, axes.headings[metric], *(f"vs {name}" for name in rivals)]
    rows = [
        [
            str(number),
            f"{results[axes.title][index] / axes.per_unit:.{axes.rate_digits}f}",
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


def _table(headings: list[str], rows: list[list[str]]) -> Table:
    table = Table(title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _spread(mean: float | None, ends: list[float | None]) -> str:
    """A mean, with half the width of its interval."""
    low, high = ends
    if mean is None or low is None or high is None:
        return "-"
    digits = 3 if abs(mean) < 1.5 else 2
    return f"{mean:.{digits}f} ±{(high - low) / 2:.{digits}f}"


def _number(value: float | None, digits: str) -> str:
    return "-" if value is None else format(value, digits)


def _usage(codebooks: list[dict[str, Any]]) -> str:
    used = [f"{book['usage']:.0%} (perplexity {book['perplexity']:.0f})" for book in codebooks[:MOST_BOOKS]]
    others = [f"{len(codebooks) - len(used)} more in the JSON"] if len(codebooks) > len(used) else []
    return "codebook usage: " + ", ".join([*used, *others])


def _failures(failed: list[dict[str, Any]]) -> list[str]:
    counts = Counter(failure["codec"] for failure in failed)
    return [f"{codec} failed on {counted(count, 'item')}" for codec, count in counts.items()]


def _title(name: str) -> str:
    return f"{SCORE_TITLES[name]} {SCORE_UNITS.get(name, '')}".rstrip()


def _with_interval(found: dict[str, float] | None) -> str:
    """The mean of what is finite, and beside it how many items were perfect."""
    if not found:
        return "-"
    perfect = f"{found['perfect']} perfect" if found["perfect"] else ""
    if not found["count"]:
        return perfect
    mean = _spread(found["mean"], [found["low"], found["high"]])
    return f"{mean}, {perfect}" if perfect else mean
