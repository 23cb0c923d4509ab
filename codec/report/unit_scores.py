"""What the scores of units came to, and what each means, in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from codec.eval.abx import AbxScore
from codec.eval.boundaries import BoundaryScores
from codec.eval.clusters import ClusterScores
from codec.eval.interval import Interval
from codec.eval.unit_table import FRAMES_BY
from codec.eval.units import SEGMENT_S, UnitScores
from codec.report.figures import NOTHING

ABX_MODES = {"within": "within speakers", "across": "across speakers"}
ABX_VIEWS = {
    "latents": "latents, before they are quantized",
    "embeddings": "quantized latents",
    "units": "units alone, by edits",
}
"""What `UnitScores.abx` is keyed by, in words."""

_TOLD_FROM = {"features": "from what the model hears", "latents": "from the latents", "units": "from the units"}
_ABX_MEANING = {
    "within": "X is by the speaker of A and B: how well phones are told apart.",
    "across": "X is by another speaker: whether phones are told apart no matter who speaks.",
}


@dataclass(frozen=True)
class Line:
    """A score: its name, its value, what stands under that, and what it means; some need no sentence of their own."""

    name: str
    value: str
    aside: str = ""
    meaning: str = ""


@dataclass(frozen=True)
class Group:
    """Scores that answer one question."""

    title: str
    meaning: str
    lines: list[Line]


def score_groups(scores: UnitScores) -> Iterator[Group]:
    """Every score that there is."""
    if scores.clusters is not None:
        yield _phones(scores.clusters)
    if scores.boundaries is not None:
        yield _boundaries(scores.boundaries)
    for mode, by_view in scores.abx.items():
        yield _abx(mode, by_view, FRAMES_BY[scores.distance])
    yield _bits(scores)
    if scores.speakers:
        yield _speakers(scores)


def _phones(found: ClusterScores) -> Group:
    lines = [
        _percent(
            "phone accuracy",
            found.accuracy,
            f"Frames whose unit stands for their phone. {_floor(found.commonest)}",
        ),
        _percent(
            "phone accuracy without silence",
            found.accuracy_without_silence,
            f"The same, frames of silence left out. {_floor(found.commonest_without_silence)}",
        ),
        _number(
            "PNMI", found.pnmi, "How much of what there is to know about the phone the unit tells: 0 nothing, 1 all."
        ),
        _number(
            "NMI", found.nmi, "The same, but it falls again when there are more units than needed: 0 nothing, 1 all."
        ),
        _percent(
            "phone purity",
            found.phone_purity,
            "Share of the commonest phone in a unit, mean over frames: low if units mix phones.",
        ),
        _percent(
            "cluster purity",
            found.cluster_purity,
            "Share of the commonest unit in a phone, mean over frames: low if phones are split into many units.",
        ),
    ]
    return Group("Phones", "Each unit stands for the phone that it meets most. Higher is better.", lines)


def _floor(commonest: Interval | None) -> str:
    return "" if commonest is None else f"Always saying the commonest phone reaches {100 * commonest.mean:.1f} %."


def _boundaries(found: BoundaryScores) -> Group:
    counts = f"{found.num_found:,} ends of runs, {found.num_reference:,} ends of phones, {found.num_hits:,} pairs"
    lines = [
        _percent("precision", found.precision, "Ends of runs that fall on an end of a phone."),
        _percent("recall", found.recall, "Ends of phones that an end of a run falls on."),
        _percent("F1", found.f1, "Harmonic mean of the two."),
        _number(
            "R-value", found.r_value, "1 is perfect; boundaries everywhere lower it, below 0 if they are too many."
        ),
    ]
    return Group("Boundaries", f"Whether units change where phones do, 20 ms apart at most: {counts}.", lines)


def _abx(mode: str, by_view: dict[str, AbxScore], frames_by: str) -> Group:
    meaning = (
        "A and X are one phone, B another, all in the same context: how often X is taken for B. 0 % is perfect, 50 % "
        f"is chance. {_ABX_MEANING[mode]} {_asked(next(iter(by_view.values())))}, {frames_by}."
    )
    lines = [
        Line(words, _percents(by_view[view].error), _ends(by_view[view].interval, 100))
        for view, words in ABX_VIEWS.items()
        if view in by_view
    ]
    return Group(f"ABX errors {ABX_MODES[mode]}", meaning, lines)


def _asked(score: AbxScore) -> str:
    return f"{score.num_triples:,} triples, {len(score.by_pair):,} ordered pairs of phones"


def _bits(scores: UnitScores) -> Group:
    names = {"frames": "every frame", "runs": "without repetitions"}
    lines = []
    for name, rate in scores.bitrate.items():
        found = rate.bits_per_second
        meaning = f"{rate.units_per_second:.1f} units a second of {rate.entropy_bits:.2f} bits each."
        lines.append(Line(names[name], f"{found.mean:.0f} bit/s", f"{found.low:.0f} to {found.high:.0f}", meaning))
    return Group(
        "Bits", "What it takes to send the units: their entropy times units a second. Fewer are cheaper.", lines
    )


def _speakers(scores: UnitScores) -> Group:
    probe = next(iter(scores.speakers.values()))
    lines = [_percent(_TOLD_FROM[name], found.accuracy, "") for name, found in scores.speakers.items()]
    meaning = (
        f"How often a linear probe names the speaker, one of {probe.num_speakers}, from {SEGMENT_S:g} seconds. "
        f"Units that are about what is said keep little of it: lower is better, {100 * probe.chance:.1f} % is chance."
    )
    return Group("Speaker", meaning, lines)


def _percent(name: str, found: Interval | None, meaning: str) -> Line:
    return Line(name, _percents(found.mean), _ends(found, 100), meaning) if found else Line(name, NOTHING, "", meaning)


def _number(name: str, found: Interval | None, meaning: str) -> Line:
    return Line(name, f"{found.mean:.3f}", _ends(found, 1), meaning) if found else Line(name, NOTHING, "", meaning)


def _percents(value: float) -> str:
    return f"{100 * value:.1f} %"


def _ends(found: Interval, scale: int) -> str:
    digits = 1 if scale == 100 else 3
    return f"{scale * found.low:.{digits}f} to {scale * found.high:.{digits}f}"
