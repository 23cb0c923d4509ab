"""Which phone each unit stands for, in which order phones are shown, and in which colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codec.eval.phones import SILENCE
from codec.eval.units import UnitScores
from codec.report.colour import hues

_NEUTRAL = "#cbc8d1"  # silence, and units that stand for nothing


@dataclass(frozen=True, eq=False)
class Meanings:
    """What units stand for.

    Attributes:
        phones: names in the order to show them: silence first, then phones that share units beside each other.
        frames: labelled frames by unit and phone, int64 `[units, phones]`.
        stands_for: the place in `phones` of the phone that a unit meets most, as for the accuracy, `[units]`; -1 for a
            unit that meets none.
    """

    phones: tuple[str, ...]
    frames: np.ndarray
    stands_for: np.ndarray

    @property
    def unit_order(self) -> np.ndarray:
        """Units that stand for a phone: in the order of phones, and for one phone the most faithful first."""
        best = self.frames.max(axis=1) / np.maximum(self.frames.sum(axis=1), 1)
        order = np.lexsort((-best, self.stands_for))
        return order[self.stands_for[order] >= 0]

    @property
    def taken_for(self) -> np.ndarray:
        """Frames by their phone and by the phone that their unit stands for, int64 `[phones, phones]`."""
        counts = np.zeros((len(self.phones), len(self.phones)), dtype=np.int64)
        met = self.stands_for >= 0
        np.add.at(counts.T, self.stands_for[met], self.frames[met])
        return counts


@dataclass(frozen=True)
class Legend:
    """How phones and units are shown.

    Attributes:
        colours: #rrggbb by phone.
        unit_colours: #rrggbb of each unit: that of its phone, or without phones one of its own.
        unit_phones: the phone that each unit stands for, "" where it is not known.
    """

    colours: dict[str, str]
    unit_colours: list[str]
    unit_phones: list[str]


def find_meanings(scores: UnitScores) -> Meanings | None:
    """None without phones."""
    if scores.clusters is None:
        return None
    counts = np.zeros((scores.codebook_size, len(scores.classes)), dtype=np.int64)
    seen = scores.clusters.confusion
    counts[: seen.shape[0], : seen.shape[1]] = seen
    order = _phone_order(counts, scores.classes)
    places = np.argsort(order)
    stands_for = np.where(counts.any(axis=1), places[counts.argmax(axis=1)], -1)
    return Meanings(tuple(scores.classes[place] for place in order), counts[:, order], stands_for)


def legend_of(scores: UnitScores, meanings: Meanings | None) -> Legend:
    """Neighbours in the order of phones have colours alike; silence is grey."""
    if meanings is None:
        return Legend({}, hues(scores.codebook_size), [""] * scores.codebook_size)
    spoken = [phone for phone in meanings.phones if phone != SILENCE]
    colours = {SILENCE: _NEUTRAL, **dict(zip(spoken, hues(len(spoken)), strict=True))}
    names = ["" if place < 0 else meanings.phones[place] for place in meanings.stands_for]
    return Legend(colours, [colours.get(name, _NEUTRAL) for name in names], names)


def _phone_order(counts: np.ndarray, names: tuple[str, ...]) -> list[int]:
    """Places in `names`, silence first, the others so that those that share units are near each other.

    By the second eigenvector of the normalised Laplacian of their graph (Shi & Malik 2000, section 2.1), in which two
    phones are as near as the cosine of their counts of units.
    """
    silent = [place for place, name in enumerate(names) if name == SILENCE]
    spoken = [place for place, name in enumerate(names) if name != SILENCE]
    if len(spoken) < 3:
        return silent + spoken
    shares = counts[:, spoken] / np.maximum(np.linalg.norm(counts[:, spoken], axis=0), 1)
    nearness = shares.T @ shares + 1e-3  # so that no phone is out of reach
    scale = np.sqrt(nearness.sum(axis=0))
    vector = np.linalg.eigh(np.eye(len(spoken)) - nearness / np.outer(scale, scale))[1][:, 1] / scale
    forwards = vector * np.sign(vector[np.abs(vector).argmax()])  # eigenvectors come with either sign
    return silent + [spoken[place] for place in np.argsort(forwards, kind="stable")]
