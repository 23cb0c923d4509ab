"""Scores of units as lines for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from codec.core.wording import counted
from codec.eval.interval import Interval
from codec.eval.units import UnitScores

VIEWS = {"latents": "latents", "embeddings": "quantized", "units": "symbols"}

FRAMES_BY = {"angular": "frames by angle", "kl": "frames by divergence"}
"""How ABX compares latents, in words."""


def unit_lines(scores: UnitScores) -> Iterator[str]:
    """One line for each question, with 95 % intervals."""
    minutes = scores.duration_s / 60
    yield (
        f"{scores.model}: {scores.codebook_size} units, {scores.frame_rate:g} a second, on "
        f"{counted(scores.num_recordings, 'recording')} ({minutes:.1f} minutes), {scores.num_labelled} with phones"
    )
    if (clusters := scores.clusters) is not None:
        yield (
            f"phone accuracy   {_percent(clusters.accuracy)}, without silence "
            f"{_percent(clusters.accuracy_without_silence)} (the commonest phone alone: "
            f"{_percent(clusters.commonest)}, {_percent(clusters.commonest_without_silence)})"
        )
        yield (
            f"information      NMI {_number(clusters.nmi)}, PNMI {_number(clusters.pnmi)}; phone purity "
            f"{_percent(clusters.phone_purity)}, cluster purity {_percent(clusters.cluster_purity)}"
        )
    if (found := scores.boundaries) is not None:
        yield (
            f"boundaries       F1 {_percent(found.f1)}, precision {_percent(found.precision)}, recall "
            f"{_percent(found.recall)}, R-value {_percent(found.r_value)}"
        )
    for mode, by_view in scores.abx.items():
        parts = [f"{name} {_percent(by_view[view].interval)}" for view, name in VIEWS.items() if view in by_view]
        parts.append(f"{next(iter(by_view.values())).num_triples} triples, {FRAMES_BY[scores.distance]}")
        yield f"ABX {mode:<12} {', '.join(parts)}"
    rates = [
        f"{rate.bits_per_second.mean:.0f} bit/s as {name} ({rate.units_per_second:.1f} a second)"
        for name, rate in scores.bitrate.items()
    ]
    yield f"bits             {', '.join(rates)}"
    if scores.speakers:
        parts = [f"{view} {_percent(probe.accuracy)}" for view, probe in scores.speakers.items()]
        chance = next(iter(scores.speakers.values())).chance
        yield f"speaker told by  {', '.join(parts)} (chance {100 * chance:.1f} %)"
    for name, why in scores.missing.items():
        yield f"no {name}: {why}"


def _percent(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    return f"{100 * interval.mean:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _number(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval.mean:.3f}"
