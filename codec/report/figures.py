"""The figures of an exhibit in words and columns, the same for the page and for the terminal."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from codec.eval.codes import CodeCounter
from codec.eval.items import Item
from codec.metrics import SCORE_TITLES, SCORE_UNITS, Score
from codec.models.base import CodeGrid

_AUDIO_SCORES = ("pesq", "stoi", "visqol")
_IMAGE_SCORES = ("psnr", "ms_ssim")
_DIGITS = {"pesq": 2, "stoi": 3, "visqol": 2, "psnr": 2, "ms_ssim": 3}
NOTHING = "\u2013"  # an empty cell
TIMES = "\u00d7"


@dataclass(frozen=True)
class Exhibit:
    """One recording or picture, coded by a model and by its rivals.

    Attributes:
        title, credit: for people.
        original: the signal as it came, `[c, time]` at `original_rate` Hz, or `[3, height, width]`.
        ours: what the model made of it.
        rivals: what the classical codecs made of it.
        levels: the model's levels, for the usage of its codebooks.
        notes: what else to know, one sentence each.
    """

    title: str
    original: Tensor
    original_rate: int | None
    ours: Item
    rivals: list[Item]
    levels: tuple[CodeGrid, ...]
    credit: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def is_audio(self) -> bool:
        return self.ours.is_audio

    @property
    def items(self) -> list[Item]:
        """The model's item first, then the rivals'."""
        return [self.ours, *self.rivals]

    @property
    def raw_bytes(self) -> int:
        """Bytes without compression: 16 bits a sample at the model's rate, or 24 bits a pixel."""
        ours = self.ours
        return 2 * ours.reference.numel() if ours.is_audio else 3 * ours.pixels

    @property
    def described(self) -> str:
        """Extent and format of the original."""
        if self.original_rate is None:
            return f"{self.original.shape[2]} {TIMES} {self.original.shape[1]} pixels"
        channels = {1: "mono", 2: "stereo"}.get(len(self.original), f"{len(self.original)} channels")
        return f"{self.ours.duration_s:.1f} s, {self.original_rate / 1000:g} kHz {channels}"


@dataclass(frozen=True)
class Row:
    """One line of a table: a name, a remark, and cells as text; `ours` is the model under test."""

    name: str
    remark: str
    cells: list[str]
    ours: bool = False


def headings(is_audio: bool) -> list[str]:
    """Titles of the cells of a `Row`."""
    titles = (SCORE_TITLES[name] for name in _shown_scores(is_audio))
    return ["bytes", "kbit/s" if is_audio else "bit/pixel", "smaller", *titles, "encode", "decode"]


def rows(exhibit: Exhibit) -> list[Row]:
    """The uncompressed original, the model, the rivals."""
    ours = exhibit.ours
    scores = _shown_scores(exhibit.is_audio)
    raw_rate = 8 * exhibit.raw_bytes / ours.extent
    raw_kind = f"16-bit PCM at {ours.sample_rate / 1000:g} kHz" if ours.sample_rate else "24 bits per pixel"
    raw = [f"{exhibit.raw_bytes:,}", rate_text(raw_rate, exhibit.is_audio), f"1{TIMES}"]
    table = [Row("Uncompressed", raw_kind, raw + [NOTHING] * (len(scores) + 2))]
    for item in exhibit.items:
        cells = [
            f"{item.num_bytes:,}",
            rate_text(item.rate, exhibit.is_audio),
            ratio_text(exhibit.raw_bytes / item.num_bytes),
            *(score_text(name, item.scores[name]) for name in scores),
            time_text(item.encode_s, item.encode_speed, exhibit.is_audio),
            time_text(item.decode_s, item.decode_speed, exhibit.is_audio),
        ]
        remark = ", ".join(part for part in (item.setting, item.note) if part)
        table.append(Row(item.codec, remark, cells, ours=item is ours))
    return table


def score_text(name: str, score: Score) -> str:
    """A score with its usual number of digits, without its unit."""
    if score.value is None:
        return NOTHING
    return "perfect" if score.perfect else f"{score.value:.{_DIGITS[name]}f}"


def score_line(item: Item) -> str:
    """Rate and scores of an item in one line."""
    unit = "kbit/s" if item.is_audio else "bit/pixel"
    parts = [f"{rate_text(item.rate, item.is_audio)} {unit}"]
    for name in _shown_scores(item.is_audio):
        if item.scores[name].value is not None:
            parts.append(f"{SCORE_TITLES[name]} {score_text(name, item.scores[name])}{_unit(name)}")
    return " · ".join(parts)


def _shown_scores(is_audio: bool) -> tuple[str, ...]:
    return _AUDIO_SCORES if is_audio else _IMAGE_SCORES


def _unit(name: str) -> str:
    return f" {SCORE_UNITS[name]}" if name in SCORE_UNITS else ""


def rate_text(rate: float, is_audio: bool) -> str:
    """Bits per second as kbit/s, or bits per pixel."""
    return f"{rate / 1000:.2f}" if is_audio else f"{rate:.3f}"


def ratio_text(ratio: float) -> str:
    """How many times smaller."""
    return _short(ratio) + TIMES


def time_text(seconds: float, speed: float, is_audio: bool) -> str:
    """Time taken, and how many times faster than real time, or megapixels per second."""
    shown = f"{seconds:.2f} s" if seconds >= 0.095 else f"{1000 * seconds:.0f} ms"
    return f"{shown} ({_short(speed)}{TIMES if is_audio else ' Mpx/s'})"


def _short(figure: float) -> str:
    """About two digits."""
    return f"{figure:.0f}" if figure >= 9.95 else f"{figure:.1f}" if figure >= 0.95 else f"{figure:.2g}"


def verdict(exhibit: Exhibit) -> str:
    """The exhibit in one or two sentences."""
    ours = exhibit.ours
    smaller = ratio_text(exhibit.raw_bytes / ours.num_bytes).rstrip(TIMES)
    unit = "kbit/s" if exhibit.is_audio else "bits per pixel"
    extent = f"{ours.duration_s:.1f} seconds of sound" if exhibit.is_audio else f"{ours.pixels:,} pixels"
    first = (
        f"{ours.codec} keeps {extent} in {ours.num_bytes:,} bytes: {rate_text(ours.rate, exhibit.is_audio)} "
        f"{unit}, {smaller} times smaller than uncompressed."
    )
    return " ".join([first, *_comparison(exhibit)])


def _comparison(exhibit: Exhibit) -> list[str]:
    """How the score that counts compares with that of the best rival, and how many bytes that rival takes."""
    name = "pesq" if exhibit.is_audio else "psnr"
    scored = [item for item in exhibit.rivals if item.scores[name].finite is not None]
    mine = exhibit.ours.scores[name]
    if not scored or mine.finite is None:
        return []
    best = max(scored, key=lambda item: item.scores[name].finite or 0.0)
    times = best.num_bytes / exhibit.ours.num_bytes
    size = "about as many bytes" if 0.9 <= times <= 1.1 else f"{times:.1f} times the bytes"
    unit = _unit(name)
    return [
        f"{SCORE_TITLES[name]} {score_text(name, mine)}{unit}; the best rival here, {best.codec}, "
        f"reaches {score_text(name, best.scores[name])}{unit} with {size}."
    ]


def usage_text(exhibit: Exhibit) -> str:
    """How many different codes occurred, and how evenly."""
    counter = CodeCounter(exhibit.levels)
    counter.add(exhibit.ours.codes)
    table = counter.table()
    total = sum(row["codes"] for row in table)
    most = 4
    parts = [
        f"codebook {row['codebook'] + 1} used {row['usage'] * row['codebook_size']:.0f} of its "
        f"{row['codebook_size']} codes (perplexity {row['perplexity']:.0f})"
        for row in table[:most]
    ]
    more = f", and {len(table) - most} more codebooks" if len(table) > most else ""
    return f"{total:,} codes in all: {', '.join(parts)}{more}."


def missing_notes(exhibit: Exhibit) -> list[str]:
    """Why scores are absent, or what to know about them, each said once."""
    notes: dict[str, None] = {}
    for item in exhibit.items:
        for name in _shown_scores(exhibit.is_audio):
            if note := item.scores[name].note:
                notes[f"{SCORE_TITLES[name]}: {note}."] = None
    return list(notes)
