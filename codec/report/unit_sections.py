"""Sections of the page of units: what units stand for, how often they occur, and which phones are mistaken."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby

import numpy as np

from codec.core.wording import counted
from codec.eval.abx import AbxScore
from codec.eval.phones import SILENCE
from codec.report.figures import TIMES
from codec.report.heat_map import HeatMap
from codec.report.meanings import Legend, Meanings
from codec.report.unit_scores import ABX_MODES, ABX_VIEWS

_CHANCE = 0.5  # of ABX
_BARS = 880, 120  # pixels that bars get
_NARROWEST, _WIDEST = 2, 21  # pixels of a bar
_MOST_MISTAKEN = 6


def phones_by_units(meanings: Meanings) -> str:
    """Phones by units: how likely each phone is where a unit is met."""
    order = meanings.unit_order
    frames = meanings.frames[order]
    totals = frames.sum(axis=1)
    names = [meanings.phones[place] for place in meanings.stands_for[order]]
    heat = HeatMap(
        title="Phones by units",
        values=_shades((frames / totals[:, None]).T),
        rows=meanings.phones,
        columns=[f"unit {unit} (stands for {name})" for unit, name in zip(order.tolist(), names, strict=True)],
        groups=[(name, len(list(same))) for name, same in groupby(names)],
        told=[
            [_share(count, total, "frames of the unit") for count, total in zip(row, totals.tolist(), strict=True)]
            for row in frames.T.tolist()
        ],
    )
    return _section(
        "heat",
        f"Phones {TIMES} units",
        "A row for every phone, a column for every unit, in the colour of how likely the phone is while the unit "
        "lasts. Units that carry phones make a bright staircase, those that mix phones a faint column.",
        heat.html() + _ramp("0 %", "100 % of the frames of the unit; the middle is 25 %"),
        " ".join(_notes_on_units(meanings, names)),
    )


def _notes_on_units(meanings: Meanings, meant: Sequence[str]) -> list[str]:
    notes = ["Below are the phones that the units stand for. Phones that share units stand near each other."]
    if SILENCE in meanings.phones:
        notes.append(f"{SILENCE} is silence.")
    if unmet := int((meanings.stands_for < 0).sum()):
        notes.append(f"Without a column: {counted(unmet, 'unit')} that no frame with a phone has.")
    if idle := [name for name in meanings.phones if name not in meant]:
        notes.append(f"No unit stands for {', '.join(idle)}.")
    return [*notes, "Point at a cell for its counts."]


def phones_by_phones(meanings: Meanings) -> str:
    """Phones by the phones that they are taken for."""
    frames = meanings.taken_for
    totals = frames.sum(axis=1)
    shares = frames / np.where(totals, totals, np.nan)[:, None]
    heat = HeatMap(
        title="Phones by the phones they are taken for",
        values=_shades(shares),
        rows=meanings.phones,
        columns=[f"taken for {name}" for name in meanings.phones],
        groups=[(name, 1) for name in meanings.phones],
        told=[
            [_share(count, total, "frames of the phone") for count in row]
            for row, total in zip(frames.tolist(), totals.tolist(), strict=True)
        ],
    )
    return _section(
        "taken-for",
        "What each phone is taken for",
        "Each frame is taken for the phone that its unit stands for: a row tells where the frames of a phone went. "
        "What lies on the diagonal is right, and a dark column is a phone that no unit stands for.",
        heat.html() + _ramp("0 %", "100 % of the frames of the phone; the middle is 25 %"),
        _most_mistaken(meanings.phones, np.nan_to_num(shares)),
    )


def _most_mistaken(phones: Sequence[str], shares: np.ndarray) -> str:
    wrong = np.where(np.eye(len(phones), dtype=bool), 0, shares)
    rows, columns = np.unravel_index(np.argsort(-wrong, axis=None, kind="stable")[:_MOST_MISTAKEN], wrong.shape)
    parts = [
        f"{phones[row]} for {phones[column]} ({100 * wrong[row, column]:.0f} %)"
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        if wrong[row, column]
    ]
    return f"Most often mistaken: {', '.join(parts)}." if parts else "No frame is mistaken."


def abx_maps(abx: dict[str, dict[str, AbxScore]], phones: Sequence[str]) -> str:
    """ABX errors by pair of phones, a map for each way of asking; "" if none was asked."""
    asked = [(mode, view) for mode, by_view in abx.items() for view in ABX_VIEWS if view in by_view]
    if not asked:
        return ""
    maps = "".join(
        f"<details{'' if place else ' open'}><summary>{escape(_asked(mode, view, abx[mode][view]))}</summary>"
        f"{_abx_map(abx[mode][view], phones).html()}</details>"
        for place, (mode, view) in enumerate(asked)
    )
    return _section(
        "abx",
        "ABX errors by pair of phones",
        "A and X are the phone of the row, B is that of the column: how often X is nearer to B. "
        "Bright pairs sound alike to the model; cells are grey for pairs that never share a context.",
        maps + _ramp("0 %", "50 %, which is chance, and above"),
        "",
    )


def _asked(mode: str, view: str, score: AbxScore) -> str:
    return f"{ABX_MODES[mode].capitalize()}, {ABX_VIEWS[view]}: {100 * score.error:.1f} %"


def _abx_map(score: AbxScore, phones: Sequence[str]) -> HeatMap:
    met = {name for pair in score.by_pair for name in pair}
    names = [name for name in phones if name in met] + sorted(met - set(phones))
    errors = np.array([[score.by_pair.get((one, other), np.nan) for other in names] for one in names])
    return HeatMap(
        title="ABX errors by pair of phones",
        values=errors / _CHANCE,
        rows=names,
        columns=[f"against {name}" for name in names],
        groups=[(name, 1) for name in names],
        told=[["" if np.isnan(error) else f"{100 * error:.1f} % wrong" for error in row] for row in errors.tolist()],
    )


def usage(num_frames: np.ndarray, legend: Legend) -> str:
    """How often each unit occurs, of `num_frames` `[units]`, the commonest first."""
    shares = num_frames / num_frames.sum()
    present = shares[shares > 0]
    even = 2 ** -float((present * np.log2(present)).sum())
    commonest = int(shares.argmax())
    coloured = " Bars have the colour of the phone that the unit stands for." if any(legend.unit_phones) else ""
    return _section(
        "usage",
        "How often each unit occurs",
        f"{len(present)} of {len(shares)} units occur, as evenly as {even:.0f} equally common ones would (the "
        f"perplexity). The commonest is {_used(commonest, float(shares[commonest]), legend)}.",
        _bars(shares, legend),
        f"A bar for every unit, the commonest first.{coloured} Point at one for its number.",
    )


def _bars(shares: np.ndarray, legend: Legend) -> str:
    width, height = min(max(_BARS[0] // len(shares), _NARROWEST), _WIDEST), _BARS[1]
    bars = []
    for place, unit in enumerate(np.argsort(-shares, kind="stable").tolist()):
        tall = height * float(shares[unit] / shares.max())
        told = escape(_used(unit, float(shares[unit]), legend))
        bars.append(
            f'<rect x="{place * width}" y="{height - tall:.1f}" width="{width - 0.5}" height="{tall:.1f}" '
            f'fill="{legend.unit_colours[unit]}"><title>{told}</title></rect>'
        )
    return (
        '<div class="scroll bars" tabindex=0 role=region aria-label="Frames by unit">'
        f'<svg width="{width * len(shares)}" height="{height}">{"".join(bars)}</svg></div>'
    )


def _used(unit: int, share: float, legend: Legend) -> str:
    phone = legend.unit_phones[unit]
    means = f", which stands for {phone}," if phone else ""
    return f"unit {unit}{means} with {100 * share:.2g} % of the frames"


def _share(count: int, total: int, of: str) -> str:
    return f"{count:,} of {total:,} {of}, {100 * count / total:.0f} %" if count else ""


def _shades(shares: np.ndarray) -> np.ndarray:
    """Shades of shares: their roots, so that small ones are seen, too."""
    return np.sqrt(shares)


def _ramp(low: str, high: str) -> str:
    return f'<p class="legend"><span>{low}</span><i class="ramp"></i><span>{high}</span></p>'


def _section(name: str, title: str, says: str, shown: str, caption: str) -> str:
    under = f'<p class="caption">{escape(caption)}</p>' if caption else ""
    return f'<section id="{name}"><h2>{title}</h2><p class="verdict">{escape(says)}</p>{shown}{under}</section>'
