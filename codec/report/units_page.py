"""The page of units: their scores, what they stand for, and recordings unrolled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import numpy as np

from codec.core.atomic import atomic_write_text
from codec.core.wording import counted, printable
from codec.data.audio import read_audio
from codec.eval.heard import Heard
from codec.eval.machine import machine_facts
from codec.eval.units import UnitScores
from codec.models.units import UnitModel
from codec.report.document import asset, document, machine_line, paragraphs
from codec.report.meanings import Legend, find_meanings, legend_of
from codec.report.unit_scores import Group, Line, score_groups
from codec.report.unit_sections import abx_maps, phones_by_phones, phones_by_units, usage
from codec.report.unrolled import first_part, unrolled

_EXAMPLES = 2
_EXAMPLE_S = 5.0  # an example is to be about so long
_NO_PHONES = "None of them has phone times, so there is neither a map of phones and units nor a lane of phones."


def write_units_page(path: Path, model: UnitModel, scores: UnitScores, recordings: Sequence[Heard]) -> None:
    """Write one HTML file about `scores`, which `model` reached on `recordings`.

    Raises:
        UserError: a recording to unroll cannot be read any more, or the file cannot be written.
    """
    atomic_write_text(path, printable(page(model, scores, recordings)))


def page(model: UnitModel, scores: UnitScores, recordings: Sequence[Heard]) -> str:
    """The page as HTML."""
    meanings = find_meanings(scores)
    legend = legend_of(scores, meanings)
    used = np.bincount(np.concatenate([heard.units for heard in recordings]), minlength=scores.codebook_size)
    parts = [("scores", "Scores", _scores(scores))]
    if meanings is not None:
        parts.append(("heat", "Phones and units", phones_by_units(meanings)))
    parts.append(("usage", "Usage", usage(used, legend)))
    if meanings is not None:
        parts.append(("taken-for", "Mistakes", phones_by_phones(meanings)))
        parts.append(("abx", "ABX", abx_maps(scores.abx, meanings.phones)))
    parts.append(("example-1", "Unrolled", "\n".join(_examples(model, recordings, legend))))
    parts = [part for part in parts if part[2]]
    links = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title, _ in parts)
    sections = "\n".join(content for _, _, content in parts)
    machine = machine_facts(next(model.buffers()).device)
    main = f"""<header class="top">
<p class="eyebrow">{escape(model.name)}</p>
<h1>What the units are worth</h1>
<p class="lede">{escape(_lede(scores))}</p>
<nav><ul>{links}</ul></nav>
</header>
{sections}
<footer>{paragraphs([f"{model.name}, fingerprint {model.fingerprint}.", machine_line(machine)])}</footer>"""
    return document(f"{model.name}: units", main, style=asset("units.css"), script=asset("units.js"))


def _lede(scores: UnitScores) -> str:
    known = f"{scores.num_labelled} of them have phone times; what is about phones is about those."
    if scores.num_labelled in (0, scores.num_recordings):
        known = "All of them have phone times." if scores.num_labelled else _NO_PHONES
    return (
        f"{counted(scores.num_recordings, 'recording')}, {scores.duration_s / 60:.1f} minutes of speech, written down "
        f"in {scores.codebook_size} units, {scores.frame_rate:g} a second. {known}"
    )


def _scores(scores: UnitScores) -> str:
    bodies = "".join(map(_group, score_groups(scores)))
    gaps = "".join(f"<li><b>{escape(name)}</b>: {escape(why)}</li>" for name, why in scores.missing.items())
    missing = f'<h3>Not scored, and why</h3><ul class="missing">{gaps}</ul>' if gaps else ""
    return f"""<section id="scores"><h2>Scores</h2>
<p class="verdict">Under each value is its 95 % interval, by resampling recordings; for ABX, pairs of phones.</p>
<table class="scores">{bodies}</table>{missing}</section>"""


def _group(group: Group) -> str:
    title = f"{escape(group.title)}<small>{escape(group.meaning)}</small>"
    head = f"<tr class=group><th colspan=2 scope=rowgroup>{title}</th></tr>"
    return f"<tbody>{head}{''.join(map(_line, group.lines))}</tbody>"


def _line(line: Line) -> str:
    meaning = f"<small>{escape(line.meaning)}</small>" if line.meaning else ""
    aside = f"<small>{escape(line.aside)}</small>" if line.aside else ""
    return f"<tr><th scope=row>{escape(line.name)}{meaning}</th><td>{escape(line.value)}{aside}</td></tr>"


def _examples(model: UnitModel, recordings: Sequence[Heard], legend: Legend) -> Iterator[str]:
    for number, heard in enumerate(choose_examples(recordings), 1):
        signal, rate = read_audio(heard.path, sample_rate=model.config.sample_rate, channels=1)
        shown, signal = first_part(heard, signal, frame_rate=model.frame_rate)
        lanes = unrolled(shown, signal, sample_rate=rate, frame_rate=model.frame_rate, legend=legend)
        yield f"""<section id="example-{number}">
<p class="eyebrow">{escape(_described(heard, shown))}</p>
<h2>Unrolled: {escape(heard.stem)}</h2>
<p class="verdict">{escape(_how_to_read(legend, shown))}</p>
{lanes}</section>"""


def choose_examples(recordings: Sequence[Heard]) -> list[Heard]:
    """Recordings to unroll: with phones if there are any, about five seconds long, each by another speaker if known."""
    labelled = [heard for heard in recordings if heard.phones] or recordings
    chosen: list[Heard] = []
    for heard in sorted(labelled, key=lambda heard: abs(heard.duration_s - _EXAMPLE_S)):
        if heard.speaker is None or heard.speaker not in {other.speaker for other in chosen}:
            chosen.append(heard)
    return chosen[:_EXAMPLES]


def _described(heard: Heard, shown: Heard) -> str:
    length = f"{heard.duration_s:.1f} s"
    if shown.duration_s < heard.duration_s:
        length = f"the first {shown.duration_s:g} of {length}"
    return f"Speaker {heard.speaker}, {length}" if heard.speaker else length.capitalize()


def _how_to_read(legend: Legend, shown: Heard) -> str:
    start = "A click plays from there, pointing at a block tells what it is, and what is too wide scrolls. "
    if not legend.colours:
        return start + "Units are runs of equal frames, in a colour by their number."
    guides = "Thin lines are the ends of phones. " if shown.phones else ""
    return start + guides + "Units are runs of equal frames in the colour of the phone that they stand for."
