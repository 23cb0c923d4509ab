"""Rate-distortion curves as a drawing: two scores over the rate, ours and the rivals', with their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from codec.core.atomic import atomic_path, atomic_write_text
from codec.core.errors import UserError
from codec.eval import AXES, Axes, Curve, curve_rows, point_rows
from codec.report.canvas import Canvas, PixelCanvas, Point, SvgCanvas

_WIDTH, _HEIGHT = 1120, 500
_PANEL = 410, 370  # pixels that the data have
_LEFTS, _TOP = (60, 610), 76
_LABEL_STEP = 17
_INK, _SOFT, _LINE = "#1c1b22", "#66636f", "#e4e1dc"
_OURS = "#8c2468"
_RIVALS = ("#d98200", "#0072b2", "#009e73", "#6a6a6a")  # told apart with any kind of sight
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, Helvetica, Arial, sans-serif; color: #1c1b22; margin: 24px auto; max-width: 1120px; }}
svg {{ max-width: 100%; height: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 24px 0; }}
th, td {{ padding: 4px 14px; text-align: right; border-bottom: 1px solid #e4e1dc; }}
p {{ color: #66636f; }}
</style></head><body>
{drawing}{tables}
<p>{legend}</p>
</body></html>
"""
_LEGEND = (
    "vs: how far ours lies above a rival's curve at the same rate, on straight lines over log(rate) between its "
    "measured points. BD-rate: bits that ours takes more (+) or fewer (-) for equal quality."
)


def plot_writer(path: str | Path) -> Callable[[dict[str, Any]], None]:
    """What draws `rate_distortion`'s report into `path`, whose suffix says how: .svg, .png or .html.

    Raises:
        UserError: another suffix.
    """
    writers = {".svg": _write_svg, ".png": _write_png, ".html": _write_html}
    write = writers.get(Path(path).suffix.lower())
    if write is None:
        raise UserError(f"cannot draw curves as {Path(path).name!r}: wanted one of {', '.join(writers)}")
    return lambda report: write(Path(path), report)


def _write_svg(path: Path, report: dict[str, Any]) -> None:
    atomic_write_text(path, _svg(report))


def _write_png(path: Path, report: dict[str, Any]) -> None:
    _draw(canvas := PixelCanvas(_WIDTH, _HEIGHT), report)
    with atomic_path(path) as temporary:
        canvas.content().save(temporary, "PNG", optimize=True)


def _write_html(path: Path, report: dict[str, Any]) -> None:
    rows = [point_rows(report), *(curve_rows(report, metric) for metric in AXES[report["media"]].headings)]
    tables = "\n".join(_table(*found) for found in rows)
    legend = _LEGEND if report["rivals"] else ""
    page = _PAGE.format(title=escape(_title(report)), drawing=_svg(report), tables=tables, legend=legend)
    atomic_write_text(path, page)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    tagged = [("th", headings), *(("td", row) for row in rows)]
    lines = ["".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) for tag, row in tagged]
    return "<table>\n" + "\n".join(f"<tr>{line}</tr>" for line in lines) + "\n</table>"


def _svg(report: dict[str, Any]) -> str:
    _draw(canvas := SvgCanvas(_WIDTH, _HEIGHT), report)
    return canvas.content()


def _title(report: dict[str, Any]) -> str:
    return f"{report['name']} on {report['rates'][0]['summary']['items']} {AXES[report['media']].items}"


def _draw(canvas: Canvas, report: dict[str, Any]) -> None:
    axes, records = AXES[report["media"]], [report, *report["rivals"]]
    canvas.text((_LEFTS[0], 24), _title(report), size=19, colour=_INK)
    rates = [rate for record in (records if axes.sparse else records[:1]) for rate in record["results"][axes.title]]
    low, high = _widened(min(rates) * 0.85, max(rates) * 1.15)
    for left, metric in zip(_LEFTS, axes.headings, strict=True):
        pieces = [(record["name"], _within(Curve.drawn(record, metric), low, high)) for record in records]
        canvas.text((left, 54), _heading(axes, metric), size=14, colour=_INK)
        if not any(piece.shape[1] for _, piece in pieces):
            canvas.text((left, _TOP + 20), f"no {axes.item} is large enough to have one", size=13, colour=_SOFT)
            continue
        bars = [_bars(record, metric, low, high) for record in records]
        qualities = np.concatenate([piece[1] for _, piece in pieces] + [bar[1:].ravel() for bar in bars])
        frame = _Frame(left, low, high, *_padded(qualities))
        frame.draw_axes(canvas, axes)
        frame.draw_curves(canvas, pieces, bars)


def _heading(axes: Axes, metric: str) -> str:
    name, _, unit = axes.headings[metric].partition(" ")
    if metric in axes.similarities:
        return f"{name}, dB: -10 log10(1 - x)"
    return f"{name}, {unit}" if unit else name


def _bars(record: dict[str, Any], metric: str, low: float, high: float) -> np.ndarray:
    """Rates between two and the ends of the intervals there, `[3, points]`; where points are dense there are none."""
    axes = AXES[record["media"]]
    points = [
        (rate, *ends)
        for rate, ends in zip(record["results"][axes.title], record["intervals"][metric], strict=True)
        if axes.sparse and None not in ends and low < rate < high
    ]
    return np.array(points, dtype=np.float64).reshape(-1, 3).T


def _widened(low: float, high: float) -> tuple[float, float]:
    """The same range of rates, or one that spans a factor of 4 around it."""
    factor = max(1.0, 2 / math.sqrt(high / low))
    return low / factor, high * factor


def _padded(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or 0.1
    return low - margin, high + margin


def _within(curve: Curve, low: float, high: float) -> np.ndarray:
    """The curve between two rates, cut exactly there: rates and qualities `[2, points]`, and whether measured."""
    inside = (curve.rates > low) & (curve.rates < high)
    points = list(zip(curve.rates[inside], curve.qualities[inside], [True] * int(inside.sum()), strict=True))
    for edge in (low, high):
        if (quality := curve.at(edge)) is not None:
            points.append((edge, quality, False))
    return np.array(sorted(points), dtype=np.float64).reshape(-1, 3).T


@dataclass(frozen=True)
class _Frame:
    """Where a panel's data go: rates on a logarithmic axis, qualities on a straight one."""

    left: int
    low_rate: float
    high_rate: float
    low: float
    high: float

    def at(self, rate: float, quality: float) -> Point:
        across = math.log(rate / self.low_rate) / math.log(self.high_rate / self.low_rate)
        return self.left + across * _PANEL[0], _TOP + (self.high - quality) / (self.high - self.low) * _PANEL[1]

    def draw_axes(self, canvas: Canvas, axes: Axes) -> None:
        for quality in _ticks(self.low, self.high):
            (x0, y), (x1, _) = self.at(self.low_rate, quality), self.at(self.high_rate, quality)
            canvas.line([(x0, y), (x1, y)], colour=_LINE, width=1)
            canvas.text((x0 - 8, y), f"{quality:g}", size=12, colour=_SOFT, anchor="end")
        for rate in _rate_ticks(self.low_rate / axes.per_unit, self.high_rate / axes.per_unit):
            (x, y0), (_, y1) = (self.at(rate * axes.per_unit, quality) for quality in (self.high, self.low))
            canvas.line([(x, y0), (x, y1)], colour=_LINE, width=1)
            canvas.text((x, y1 + 14), f"{rate:g}", size=12, colour=_SOFT, anchor="middle")
        middle = self.left + _PANEL[0] / 2
        canvas.text((middle, _TOP + _PANEL[1] + 36), axes.unit, size=13, colour=_SOFT, anchor="middle")

    def draw_curves(self, canvas: Canvas, pieces: Sequence[tuple[str, np.ndarray]], bars: Sequence[np.ndarray]) -> None:
        """Ours comes first and is drawn last, on top; names stand beside their ends, bars span the intervals."""
        styles = [(_OURS, 2.8, 4.0), *((colour, 1.6, 2.2) for colour in _RIVALS)]
        labels = []
        for (name, piece), ends, (colour, width, radius) in reversed(list(zip(pieces, bars, styles, strict=False))):
            if not piece.shape[1]:
                continue
            for rate, lowest, highest in ends.T:
                canvas.line([self.at(rate, lowest), self.at(rate, highest)], colour=colour, width=1.2)
            points = [self.at(rate, quality) for rate, quality in zip(piece[0], piece[1], strict=True)]
            canvas.line(points, colour=colour, width=width)
            for point, measured in zip(points, piece[2], strict=True):
                if measured:
                    canvas.dot(point, radius=radius, colour=colour)
            labels.append((points[-1][1], name, colour))
        for height, name, colour in _spread(labels):
            canvas.text((self.left + _PANEL[0] + 9, height), name, size=13, colour=colour)


def _spread(labels: Sequence[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    """Labels from the top down, each at its curve's height or, where that is taken, below the label before."""
    placed: list[tuple[float, str, str]] = []
    for height, name, colour in sorted(labels):
        lowest = placed[-1][0] + _LABEL_STEP if placed else -math.inf
        placed.append((max(height, lowest), name, colour))
    return placed


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers inside, four to ten of them."""
    step = next(
        factor * power
        for power in (10.0**exponent for exponent in range(-3, 4))
        for factor in (1, 2, 5)
        if (high - low) / (factor * power) <= 10
    )
    first = math.ceil(low / step)
    return [round(number * step, 6) for number in range(first, math.floor(high / step) + 1)]


def _rate_ticks(low: float, high: float) -> list[float]:
    """Round rates inside, not too far from evenly spread."""
    ticks = (digit * 10.0**power for power in range(-4, 3) for digit in (1, 2, 3, 5, 7))
    return [tick for tick in ticks if low <= tick <= high]
