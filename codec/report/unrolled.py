"""A recording unrolled along one axis of time: its waveform, its spectrogram, its phones and its units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape

import numpy as np
from PIL import Image
from torch import Tensor

from codec.core.runs import find_runs
from codec.core.wording import counted
from codec.eval.heard import Heard
from codec.eval.phones import Phone
from codec.report.inline import image_uri, sound_uri
from codec.report.meanings import Legend
from codec.report.pictures import mel_image

PIXELS_PER_S = 300
_MOST_S = 12.0
_NAME = 19  # pixels above a lane for what it is called
_WAVE, _MELS, _BLOCKS, _UNITS, _AXIS = 70, 130, 24, 34, 20  # heights of lanes in pixels


@dataclass(frozen=True)
class Block:
    """A stretch of a lane: from when to when in seconds, what is written on it, its colour, and what pointing tells."""

    start_s: float
    stop_s: float
    text: str
    colour: str
    told: str


def first_part(heard: Heard, signal: Tensor, *, frame_rate: float) -> tuple[Heard, Tensor]:
    """The first 12 seconds of a recording and of its signal `[1, time]`, for pages that stay small."""
    if heard.duration_s <= _MOST_S:
        return heard, signal
    phones = tuple(replace(phone, end_s=min(phone.end_s, _MOST_S)) for phone in heard.phones if phone.start_s < _MOST_S)
    kept = replace(heard, duration_s=_MOST_S, phones=phones, units=heard.units[: int(_MOST_S * frame_rate)])
    return kept, signal[:, : int(signal.shape[1] * _MOST_S / heard.duration_s)]


def unrolled(heard: Heard, signal: Tensor, *, sample_rate: int, frame_rate: float, legend: Legend) -> str:
    """The lanes of a recording over its player, `[1, time]` at `sample_rate` Hz, with `frame_rate` units a second."""
    width = round(PIXELS_PER_S * heard.duration_s)
    lanes: list[tuple[str, int, str]] = [
        ("waveform", _WAVE, _waveform(signal, width)),
        ("log mel spectrogram", _MELS, _picture(mel_image(signal, sample_rate), width)),
    ]
    if heard.phones:
        phones = [Block(p.start_s, p.end_s, p.name, legend.colours[p.name], _when(p)) for p in heard.phones]
        lanes.append(("phones", _BLOCKS, _blocks(phones, _BLOCKS)))
    if any(legend.unit_phones):
        meant = meant_blocks(heard.units, frame_rate=frame_rate, legend=legend)
        lanes.append(("phones that the units stand for", _BLOCKS, _blocks(meant, _BLOCKS)))
    lanes.append(("units", _UNITS, _blocks(unit_blocks(heard.units, frame_rate=frame_rate, legend=legend), _UNITS)))
    return f"""<figure class="track"><div class="scroll">
<div class="lanes" style="width:{width}px">{_stack(lanes, width, heard)}<i class="head"></i></div></div>
<audio controls preload="metadata" src="{sound_uri(signal, sample_rate)}"></audio>
</figure>"""


def unit_blocks(units: np.ndarray, *, frame_rate: float, legend: Legend) -> Iterator[Block]:
    """One block for every run of `units` `[frames]`."""
    runs = find_runs(units)
    for unit, start, stop in zip(runs.units.tolist(), runs.starts.tolist(), runs.stops.tolist(), strict=True):
        phone = legend.unit_phones[unit]
        means = f", stands for {phone}" if phone else ""
        told = f"unit {unit}{means}: {counted(stop - start, 'frame')} from {start / frame_rate:.2f} s"
        yield Block(start / frame_rate, stop / frame_rate, str(unit), legend.unit_colours[unit], told)


def meant_blocks(units: np.ndarray, *, frame_rate: float, legend: Legend) -> Iterator[Block]:
    """One block for every run of `units` `[frames]` that stand for one phone."""
    names, places = np.unique(np.array(legend.unit_phones)[units], return_inverse=True)
    runs = find_runs(places)
    for place, start, stop in zip(runs.units.tolist(), runs.starts.tolist(), runs.stops.tolist(), strict=True):
        name, colour = str(names[place]), legend.unit_colours[units[start]]
        yield Block(start / frame_rate, stop / frame_rate, name, colour, f"{name or 'no phone'}, by the units")


def _stack(lanes: Sequence[tuple[str, int, str]], width: int, heard: Heard) -> str:
    """The lanes under one another, with guides from phone to phone and seconds at the bottom."""
    drawn, names, top = [], [], 0
    for name, height, content in lanes:
        names.append(f'<b style="top:{top}px">{name}</b>')
        drawn.append(f'<g transform="translate(0 {top + _NAME})">{content}</g>')
        top += _NAME + height
    edges = [phone.start_s for phone in heard.phones] + [phone.end_s for phone in heard.phones[-1:]]
    guides = "".join(f"M{PIXELS_PER_S * edge:.1f} {_NAME}V{top}" for edge in dict.fromkeys(edges))
    return (
        f'<div class="names">{"".join(names)}</div><svg width="{width}" height="{top + _AXIS}">{"".join(drawn)}'
        f'<path class="guides" d="{guides}"/>{_axis(heard.duration_s, top)}</svg>'
    )


def _waveform(signal: Tensor, width: int) -> str:
    """The highest and the lowest sample of every pixel as one outline, scaled to the loudest."""
    samples = signal.mean(0).numpy()
    edges = np.linspace(0, len(samples), min(width, len(samples)) + 1).astype(np.int64)[:-1]
    middle = _WAVE / 2
    scale = (middle - 1) / max(float(np.abs(samples).max()), 1e-9)
    step = width / len(edges)
    high = [(place * step, middle - scale * y) for place, y in enumerate(np.maximum.reduceat(samples, edges))]
    low = [(place * step, middle - scale * y) for place, y in enumerate(np.minimum.reduceat(samples, edges))]
    points = " ".join(f"{x:.0f},{y:.1f}" for x, y in [*high, *reversed(low)])
    return f'<polygon class="wave" points="{points}"/>'


def _picture(image: Image.Image, width: int) -> str:
    return f'<image href="{image_uri(image)}" width="{width}" height="{_MELS}" preserveAspectRatio="none"/>'


def _blocks(blocks: Iterable[Block], height: int) -> str:
    return "".join(_block(block, height) for block in blocks)


def _block(block: Block, height: int) -> str:
    left, width = PIXELS_PER_S * block.start_s, PIXELS_PER_S * (block.stop_s - block.start_s)
    return (
        f'<g><title>{escape(block.told)}</title><rect x="{left:.1f}" width="{max(width - 0.6, 0.4):.1f}" '
        f'height="{height}" fill="{block.colour}"/>{_word(block.text, left + width / 2, width, height)}</g>'
    )


def _word(text: str, middle: float, width: float, height: int) -> str:
    """Words in a block: lying, standing where it is narrow, or none."""
    length = 6.4 * len(text) + 2
    if not text or (length > width and (width < 9 or length > height)):
        return ""
    turned = f' transform="rotate(-90 {middle:.1f} {height / 2})"' if length > width else ""
    return f'<text x="{middle:.1f}" y="{height / 2}"{turned}>{escape(text)}</text>'


def _axis(duration_s: float, top: int) -> str:
    ticks = np.arange(0, duration_s, 0.1)
    marks = "".join(
        f"M{PIXELS_PER_S * time:.1f} {top}v{7 if place % 5 == 0 else 4}" for place, time in enumerate(ticks)
    )
    words = "".join(
        f'<text x="{PIXELS_PER_S * time + 3:.1f}" y="{top + 12}">{time:.1f} s</text>' for time in ticks[::5].tolist()
    )
    return f'<g class="axis"><path d="{marks}"/>{words}</g>'


def _when(phone: Phone) -> str:
    return f"{phone.name}: {phone.start_s:.2f} to {phone.end_s:.2f} s"
