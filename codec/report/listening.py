"""A page to hear one model of speech at several rates beside the codecs that people use, and to see what it kept."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from torch import Tensor

from codec.core.atomic import atomic_write_text
from codec.core.errors import UserError
from codec.data.manifest import Entry, Manifest
from codec.eval.excerpt import excerpt
from codec.eval.interval import mean_interval
from codec.eval.items import Item, code_item, rival_item, warm_up
from codec.eval.machine import machine_facts
from codec.eval.rivals import RivalResult
from codec.eval.selection import check_seconds, select
from codec.eval.speech_codecs import speech_sweep
from codec.files import encode_file
from codec.files.prior import PriorChoice
from codec.metrics import SCORE_TITLES
from codec.models.base import CodecModel
from codec.report.document import document, machine_line, paragraphs
from codec.report.figures import NOTHING, rate_text, score_line
from codec.report.inline import small_image_uri, small_sound_uri
from codec.report.pictures import spectrogram_image

RIVAL_BPS = {"Codec2": (700, 1600, 3200), "Lyra v2": (3200, 6000, 9200), "Opus": (6000, 8000)}
"""What is heard beside ours, where it is here."""

_SIZE = 480, 160  # pixels of a spectrogram
_SCORES = {"pesq": 2, "stoi": 3, "visqol": 2}  # decimals
_STYLE = """
.tracks { grid-template-columns: repeat(auto-fill, minmax(min(100%, 235px), 1fr)); gap: 18px 16px; margin-top: 8px; }
.spectrogram img { height: 110px; } .track audio { height: 34px; } h3 { margin: 22px 0 0; } p.said { margin-top: 10px; }
figcaption { min-height: 3.1em; align-content: end; } figcaption span { flex-basis: 100%; text-wrap: balance; }"""


@dataclass(frozen=True)
class Clip:
    """One recording, and a row of items for each rate that was wanted: ours, then the rivals nearest to that rate."""

    entry: Entry
    rows: list[list[Item]]


def write_listening_page(
    path: Path,
    model: CodecModel,
    manifest: Manifest | str | Path,
    *,
    rates_bps: Sequence[float] = (750, 1500, 3000, 6000),
    seconds: float = 6.0,
    clips: int = 6,
    prior: PriorChoice = "auto",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write one HTML file with players and spectrograms of everything.

    Args:
        model: of sound of one channel, with several rates.
        manifest: a path, or what `select` left of one; `clips` of it are taken, evenly spread.
        rates_bps: for each, the number of codebooks with which files on disk come nearest to it.
        seconds: the first of every recording.
        prior: goes to `encode_file`.
        progress: called with (clips done, clips in all).

    Raises:
        UserError: the model is of pictures or of several channels, or a recording cannot be read.
    """
    check_seconds(model, seconds)
    if model.media.channels != 1:
        raise UserError(f"{model.name} codes {model.media.channels} channels at once; wanted a model of one")
    chosen = select(manifest, model, limit=clips)
    warm_up(model)
    with tempfile.TemporaryDirectory(prefix="codec-listen-") as scratch:
        folders = [Path(scratch, str(index)) for index in range(len(chosen))]
        sources = [excerpt(entry.path, folder, seconds=seconds) for entry, folder in zip(chosen, folders, strict=True)]
        numbers = nearest_numbers(model, sources, rates_bps, Path(scratch), prior=prior)
        shown = []
        for entry, source, folder in zip(chosen, sources, folders, strict=True):
            ours = [code_item(source, model, folder / str(n), num_active=n, prior=prior) for n in numbers]
            shown.append(Clip(entry, _with_rivals(ours, rates_bps, folder)))
            progress(len(shown), len(chosen))
    atomic_write_text(path, page(model, shown, rates_bps))


def nearest_numbers(
    model: CodecModel, sources: Sequence[Path], rates_bps: Sequence[float], folder: Path, *, prior: PriorChoice
) -> list[int]:
    """For each rate the number of codebooks whose files, over all sources, come nearest to it (as a ratio)."""
    measured = {}
    for number in model.rates:
        reports = [
            encode_file(source, folder / "measured.vqc", model, num_active=number, prior=prior, mono=True)
            for source in sources
        ]
        measured[number] = 8 * sum(found.bytes for found in reports) / sum(found.duration_s or 0 for found in reports)
    return [min(measured, key=lambda n, rate=rate: abs(math.log(measured[n] / rate))) for rate in rates_bps]


def _with_rivals(ours: list[Item], rates_bps: Sequence[float], folder: Path) -> list[list[Item]]:
    first, rows = ours[0], [[item] for item in ours]
    assert first.sample_rate is not None
    for result in speech_sweep(first.reference, first.sample_rate, folder, ladders=RIVAL_BPS):
        if isinstance(result, RivalResult):
            item = rival_item(result, first.path, first.reference, sample_rate=first.sample_rate)
            nearest = min(range(len(rows)), key=lambda index: abs(math.log(item.rate / rates_bps[index])))
            rows[nearest].append(item)
    return rows


def page(model: CodecModel, clips: Sequence[Clip], rates_bps: Sequence[float]) -> str:
    """The page as HTML."""
    links = "".join(f'<li><a href="#clip-{n}">{escape(_title(n, clip))}</a></li>' for n, clip in enumerate(clips, 1))
    sections = "\n".join(_section(number, clip, rates_bps) for number, clip in enumerate(clips, start=1))
    machine = machine_facts(next(model.parameters()).device)
    main = f"""<header class="top">
<p class="eyebrow">{escape(model.name)}</p>
<h1>Listen, and look</h1>
<p class="lede">{len(clips)} recordings that the model was not trained on, each coded to a file and decoded from that
file alone: by one model at {len(rates_bps)} rates, and by codecs that people use at rates like these. A click on a
spectrogram plays from there; starting one player goes on where the other was. Colours span 75 dB, 0 to 8 kHz.</p>
<nav><ul>{links}</ul></nav>
</header>
{_summary(clips)}
{sections}
<footer>{paragraphs([_legend(model), machine_line(machine)])}</footer>"""
    return document(f"{model.name}: listen", main, style=_STYLE)


def _legend(model: CodecModel) -> str:
    return (
        f"{model.name}, fingerprint {model.fingerprint}. kbit/s: bits of the file on disk per second of sound, "
        "headers included. PESQ (1 to 4.6), STOI (0 to 1) and ViSQOL (1 to 5) compare with the original after delays "
        "are undone. All players play MP3 at 64 kbit/s, the originals too."
    )


def _summary(clips: Sequence[Clip]) -> str:
    """A table of means over clips: a line for every codec and setting, in the order of the rows."""
    lines = []
    for row in range(len(clips[0].rows)):
        for place, first in enumerate(clips[0].rows[row]):
            items = [item for clip in clips for item in clip.rows[row] if _same(item, first)]
            rate = sum(8 * item.num_bytes for item in items) / sum(item.duration_s for item in items)
            found = [mean_interval(item.scores[name].finite for item in items) for name in _SCORES]
            cells = [rate_text(rate, True)]
            cells += [f"{one.mean:.{n}f}" if one else NOTHING for one, n in zip(found, _SCORES.values(), strict=True)]
            ours = " class=ours" if not place else ""
            head = f"<th scope=row>{escape(first.codec)}<small>{escape(first.setting)}</small></th>"
            lines.append(f"<tr{ours}>{head}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    titles = "".join(f"<th scope=col>{title}</th>" for title in ("kbit/s", *(SCORE_TITLES[name] for name in _SCORES)))
    return (
        f'<section><h2>Means over these {len(clips)} recordings</h2><div class="scroll"><table><thead><tr>'
        f"<th scope=col>codec</th>{titles}</tr></thead><tbody>{''.join(lines)}</tbody></table></div></section>"
    )


def _same(item: Item, other: Item) -> bool:
    return (item.codec, item.setting) == (other.codec, other.setting)


def _title(number: int, clip: Clip) -> str:
    speaker = f", speaker {clip.entry.speaker}" if clip.entry.speaker else ""
    return f"Recording {number}{speaker}"


def _section(number: int, clip: Clip, rates_bps: Sequence[float]) -> str:
    first = clip.rows[0][0]
    said = f'<p class="verdict said">\u201c{escape(clip.entry.transcript)}\u201d</p>' if clip.entry.transcript else ""
    raw = f"{16 * (first.sample_rate or 0) / 1000:g} kbit/s as 16-bit samples"
    original = _track("Original", raw, first.reference, first)
    rows = [
        f'<h3>About {rate / 1000:g} kbit/s</h3><div class="tracks">{"".join(map(_coded, row))}</div>'
        for rate, row in zip(rates_bps, clip.rows, strict=True)
    ]
    return f"""<section id="clip-{number}">
<p class="eyebrow">{escape(clip.entry.path.name)}, the first {first.duration_s:.1f} s</p>
<h2>{escape(_title(number, clip))}</h2>{said}
<div class="tracks">{original}</div>
{"".join(rows)}
</section>"""


def _coded(item: Item) -> str:
    return _track(f"{item.codec}, {item.setting}", score_line(item), item.estimate, item)


def _track(name: str, line: str, signal: Tensor, item: Item) -> str:
    assert item.sample_rate is not None
    picture = small_image_uri(spectrogram_image(signal, item.sample_rate, reference=item.reference), _SIZE)
    mine = " mine" if item.codes and signal is item.estimate else ""  # rivals have no codes
    return f"""<figure class="track{mine}">
<figcaption><b>{escape(name)}</b><span>{escape(line)}</span></figcaption>
<div class="spectrogram"><img src="{picture}" alt="Spectrogram of {escape(name)}"><i class="head"></i></div>
<audio controls preload="metadata" src="{small_sound_uri(signal, item.sample_rate)}"></audio>
</figure>"""
