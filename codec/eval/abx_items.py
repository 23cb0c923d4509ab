"""What ABX compares: phones in their context, and the frames that belong to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from codec.core.errors import UserError
from codec.eval.item_file import AbxItem
from codec.eval.phones import SILENCE, Phone, covered

_TOUCHING_S = 1e-3  # phones further apart have something unsaid between them


def build_items(phones_by_stem: Mapping[str, Sequence[Phone]], speakers_by_stem: Mapping[str, str]) -> list[AbxItem]:
    """Every phone with the one before and the one after it, cut from the start of the first to the end of the last.

    That is what ZeroSpeech's files of triphones hold. Silence is neither a centre nor a context, and phones with a gap
    between them are no neighbours.

    Raises:
        UserError: a recording has no speaker.
    """
    items = []
    for stem, phones in phones_by_stem.items():
        if stem not in speakers_by_stem:
            raise UserError(f"recording {stem} has no speaker; give one for each recording that has phones")
        for before, phone, after in zip(phones, phones[1:], phones[2:], strict=False):
            said = SILENCE not in (before.name, phone.name, after.name)
            if said and _touch(before, phone) and _touch(phone, after):
                speaker = speakers_by_stem[stem]
                items.append(AbxItem(stem, before.start_s, after.end_s, phone.name, before.name, after.name, speaker))
    return items


def by_context(items: Sequence[AbxItem]) -> list[list[AbxItem]]:
    """The items of each context, the largest context first; in one, those of a speaker and a phone side by side."""
    contexts: dict[tuple[str, str], list[AbxItem]] = defaultdict(list)
    for item in sorted(items, key=lambda item: (item.speaker, item.phone, item.stem, item.start_s)):
        contexts[item.previous, item.following].append(item)
    return sorted(contexts.values(), key=len, reverse=True)


def thin_out(items: Sequence[AbxItem], *, most: int, seed: int) -> list[AbxItem]:
    """At most so many items of one phone, context and speaker, drawn by `seed`; in their order."""
    groups: dict[tuple[str, str, str, str], list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        groups[item.phone, item.previous, item.following, item.speaker].append(place)
    generator = np.random.default_rng(seed)
    kept = [
        generator.choice(places, most, replace=False) if len(places) > most else places for places in groups.values()
    ]
    return [items[place] for place in sorted(int(place) for places in kept for place in places)]


def cut(item: AbxItem, features: npt.NDArray, *, frame_rate: float) -> npt.NDArray:
    """The frames of `item` whose centres are in its stretch, and if it is too short to hold one, that at its middle.

    Args:
        features: `[frames, ...]` of the whole recording, at `frame_rate` Hz.

    Raises:
        UserError: the features end before the middle of the item.
    """
    middle = int((item.start_s + item.end_s) / 2 * frame_rate)
    if middle >= len(features):
        raise UserError(
            f"recording {item.stem} has {len(features)} frames at {frame_rate} Hz, which end before its phone "
            f"{item.phone} at {item.start_s} s: check the frame rate, and that the features are of the whole recording"
        )
    frames = features[covered(item.start_s, item.end_s, frame_rate=frame_rate)]
    return frames if len(frames) else features[middle : middle + 1]


def _touch(phone: Phone, later: Phone) -> bool:
    return abs(later.start_s - phone.end_s) <= _TOUCHING_S
