"""One HTML page that carries everything it shows and asks the network for nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from codec.core.atomic import atomic_write_text
from codec.eval.items import Item
from codec.report.document import document, machine_line, paragraphs
from codec.report.figures import (
    TIMES,
    Exhibit,
    headings,
    missing_notes,
    rate_text,
    rows,
    score_line,
    usage_text,
    verdict,
)
from codec.report.glossary import explained
from codec.report.inline import coded_picture_uri, image_uri, picture_uri, sound_uri, view
from codec.report.pictures import code_maps, spectrogram_image

_VIEWER = """<dialog id="viewer" aria-label="Pictures in the same place"><div class="stage"><img alt=""></div>
<div class="switch" role="group"></div></dialog>
"""


def write_page(path: Path, exhibits: Sequence[Exhibit], *, machine: dict[str, Any], models: Sequence[str]) -> None:
    """Write the report.

    Args:
        path: of the page.
        exhibits: in order.
        machine: what `machine_facts` says.
        models: one line per model.
    """
    atomic_write_text(path, page(exhibits, machine=machine, models=models))


def page(exhibits: Sequence[Exhibit], *, machine: dict[str, Any], models: Sequence[str]) -> str:
    """The report as HTML."""
    sections = "\n".join(_section(number, exhibit) for number, exhibit in enumerate(exhibits, start=1))
    main = f"""<header class="top">
<p class="eyebrow">vq-codec report</p>
<h1>From signal to codes, and back</h1>
<p class="lede">{_lede(exhibits)}</p>
{_contents(exhibits)}
</header>
{sections}
{_glossary(exhibits)}
<footer>{paragraphs([*models, machine_line(machine)])}</footer>"""
    return document(f"vq-codec: {', '.join(exhibit.title for exhibit in exhibits)}", main, after=_VIEWER)


def _lede(exhibits: Sequence[Exhibit]) -> str:
    kinds = {exhibit.is_audio for exhibit in exhibits}
    what = {True: "recording", False: "picture"}
    things = " and ".join(f"every {what[kind]}" for kind in (True, False) if kind in kinds)
    return (
        f"A neural encoder turned {things} below into a grid of whole numbers, the codes; the codes were written "
        "to a file, and a decoder built what you see and hear from that file alone. "
        "Sizes are bytes on disk, and the classical codecs worked on exactly the same signal."
    )


def _contents(exhibits: Sequence[Exhibit]) -> str:
    if len(exhibits) < 2:
        return ""
    links = (f'<li><a href="#item-{n}">{escape(e.title)}</a></li>' for n, e in enumerate(exhibits, start=1))
    return f"<nav><ul>{''.join(links)}</ul></nav>"


def _section(number: int, exhibit: Exhibit) -> str:
    credit = f'<p class="credit">{escape(exhibit.credit)}</p>' if exhibit.credit else ""
    shown = _sound(exhibit) if exhibit.is_audio else _pictures(exhibit)
    notes = paragraphs([*exhibit.notes, *missing_notes(exhibit)])
    return f"""<section id="item-{number}">
<header>
<p class="eyebrow">{"Sound" if exhibit.is_audio else "Picture"} · {escape(exhibit.described)}</p>
<h2>{escape(exhibit.title)}</h2>
<p class="verdict">{escape(verdict(exhibit))}</p>
</header>
{_table(exhibit)}
<div class="notes">{notes}</div>
{shown}
{credit}
</section>"""


def _table(exhibit: Exhibit) -> str:
    head = "".join(f"<th scope=col>{escape(title)}</th>" for title in headings(exhibit.is_audio))
    body = []
    for row in rows(exhibit):
        cells = "".join(f"<td>{_cell(cell)}</td>" for cell in row.cells)
        name = f"<th scope=row>{escape(row.name)}<small>{escape(row.remark)}</small></th>"
        body.append(f"<tr{' class=ours' if row.ours else ''}>{name}{cells}</tr>")
    return (
        '<div class="scroll" tabindex=0 role=region aria-label="Figures"><table><thead><tr>'
        f"<th scope=col>codec</th>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _cell(text: str) -> str:
    """A figure with what stands in brackets under it."""
    figure, _, aside = text.partition(" (")
    return escape(figure) + (f"<small>{escape(aside.rstrip(')'))}</small>" if aside else "")


def _sound(exhibit: Exhibit) -> str:
    ours = exhibit.ours
    assert ours.sample_rate is not None and exhibit.original_rate is not None
    rate = 8 * exhibit.raw_bytes / ours.extent
    tracks = [
        _track("Original", f"{rate_text(rate, True)} kbit/s at the model's rate", exhibit.original, ours, exhibit)
    ]
    tracks += [_track(item.codec, score_line(item), item.estimate, item, exhibit) for item in exhibit.items]
    maps = "".join(_sound_map(title, image) for title, image in code_maps(ours))
    return f"""<div class="tracks">{"".join(tracks)}</div>
<div class="codes wide">{maps}
<p class="legend"><span>quiet</span><i class="ramp"></i><span>loud</span></p>
<p class="caption">The codes in the file: time runs to the right, one row per codebook, the first on top.
Each code has the colour of the average loudness of the sound it was chosen for, by rank.
{escape(usage_text(exhibit))}</p></div>"""


def _track(name: str, line: str, signal: Tensor, item: Item, exhibit: Exhibit) -> str:
    """A player under the spectrogram of what it plays; the original plays at its own sample rate."""
    assert item.sample_rate is not None and exhibit.original_rate is not None
    original = signal is exhibit.original
    seen = item.reference if original else signal
    picture = spectrogram_image(seen, item.sample_rate, reference=item.reference)
    rate = exhibit.original_rate if original else item.sample_rate
    return f"""<figure class="track{" mine" if item is exhibit.ours and not original else ""}">
<figcaption><b>{escape(name)}</b><span>{escape(line)}</span></figcaption>
<div class="spectrogram"><img src="{image_uri(picture)}" alt="Spectrogram of {escape(name)}"><i class="head"></i>
<span class="high">{item.sample_rate / 2000:g} kHz</span><span class="low">0</span>
<span class="end">{item.duration_s:.1f} s</span></div>
<audio controls preload="metadata" src="{sound_uri(signal, rate)}"></audio>
</figure>"""


def _sound_map(title: str, image: Image.Image) -> str:
    heading = f"<h3>{escape(title)}</h3>" if title else ""
    height = min(280, max(36, 22 * image.height))
    return (
        f'{heading}<img class="map" style="height:{height}px" src="{image_uri(image)}" '
        f'alt="Heat map of the codes {escape(title)}">'
    )


def _pictures(exhibit: Exhibit) -> str:
    ours = exhibit.ours
    shown = [("Original", exhibit.described, picture_uri(ours.reference), "")]
    for item in exhibit.items:
        uri = picture_uri(item.estimate) if item is ours else coded_picture_uri(item.estimate, item.coded)
        shown.append((item.codec, score_line(item), uri, " mine" if item is ours else ""))
    figures = [
        f'<figure class="picture{kind}"><button type="button" title="See it large, and switch between versions">'
        f'<img src="{uri}" alt="{escape(name)}"></button>'
        f"<figcaption><b>{escape(name)}</b><span>{escape(line)}</span></figcaption></figure>"
        for name, line, uri, kind in shown
    ]
    maps = [
        f'<figure class="picture"><img class="map" src="{image_uri(image)}" alt="Code map, {escape(title)}">'
        f"<figcaption><b>Codes</b><span>{escape(title)}, {image.width} {TIMES} {image.height}</span></figcaption>"
        "</figure>"
        for title, image in code_maps(ours)
    ]
    part = "" if view(ours.reference).shape == ours.reference.shape else "Shown: its middle, at full resolution. "
    return f"""<div class="pictures pair">{"".join(figures[:2])}</div>
<div class="pictures">{"".join(figures[2:])}</div>
<div class="pictures maps">{"".join(maps)}</div>
<p class="legend"><span>dark</span><i class="ramp"></i><span>light</span></p>
<p class="caption">{part}The code maps show one point per code, in the colour of the average lightness of
the places that code was chosen for, by rank. {escape(usage_text(exhibit))}</p>"""


def _glossary(exhibits: Iterable[Exhibit]) -> str:
    kinds = {exhibit.is_audio for exhibit in exhibits}
    entries = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in explained(kinds))
    return f'<section class="glossary"><h2>How to read the figures</h2><dl>{entries}</dl></section>'
