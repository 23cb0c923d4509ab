"""When which phone is said in a recording."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from codec.core.errors import UserError
from codec.eval.item_file import AbxItem, numbered_lines, read_items, stretch
from codec.eval.textgrid import read_phone_tier

SILENCE = "SIL"
_SILENCES = frozenset(("SIL", "sil", "sp", "spn", "<sil>", ""))
_VOWELS = "AA|AE|AH|AO|AW|AY|EH|ER|EY|IH|IY|OW|OY|UH|UW"
_STRESSED = re.compile(rf"({_VOWELS})[012]")  # ARPABET
_IPA_STRESS = "ˈˌ"
_OVERLAP_S = 1e-3  # what rounding may do to the ends of neighbours


@dataclass(frozen=True)
class Phone:
    """A phone, or silence, from a start to an end in seconds."""

    name: str
    start_s: float
    end_s: float


def read_phones(path: str | Path) -> dict[str, tuple[Phone, ...]]:
    """The phones of recordings in order of time, by the recording's stem: file name without folder and suffix.

    Stress is taken off the names (AH0 -> AH, ˈa -> a), and every mark of silence (sil, sp, spn, <sil>, nothing)
    becomes SIL.

    Args:
        path: one of
            a JSONL file with lines {"path": ..., "phones": [[name, start_s, end_s], ...]}, other keys being ignored;
            a folder of Praat TextGrid files, at any depth, that have a tier "phones" or "phone";
            an .item file of ZeroSpeech. Of its triphones there are the centres. Where the file tells the time of the
            whole triphone, a centre begins where the next triphone does and ends where the one before does; centres
            without such neighbours are left out, so that none has a wrong time.

    Raises:
        UserError: nothing to read, a malformed line (with its number), or a recording that comes twice.
    """
    source = Path(path)
    if source.is_dir():
        return _read_folder(source)
    if source.suffix == ".item":
        return _centres(read_items(source))
    return _read_lines(source)


def frame_labels(
    phones: Sequence[Phone], *, frame_rate: float, num_frames: int, classes: Sequence[str]
) -> npt.NDArray[np.int64]:
    """The place in `classes` of the phone that covers each frame's centre, (i + 0.5) / frame_rate.

    It is -1 where there is no phone, and where the phone is none of the classes.

    Args:
        frame_rate: in Hz.

    Returns:
        `[num_frames]`.
    """
    places = {name: place for place, name in enumerate(classes)}
    labels = np.full(num_frames, -1, dtype=np.int64)
    for phone in phones:
        labels[covered(phone.start_s, phone.end_s, frame_rate=frame_rate)] = places.get(phone.name, -1)
    return labels


def covered(start_s: float, end_s: float, *, frame_rate: float) -> slice:
    """The frames whose centres are from `start_s` on and before `end_s`."""
    # Rounded, because 0.575 * 100 is below 57.5.
    first, stop = (math.ceil(round(time_s * frame_rate - 0.5, 6)) for time_s in (start_s, end_s))
    return slice(max(first, 0), max(stop, 0))


def phone_name(written: str) -> str:
    """The name without stress; SIL for silence."""
    name = written.strip()
    if name in _SILENCES:
        return SILENCE
    match = _STRESSED.fullmatch(name)
    return match[1] if match else name.lstrip(_IPA_STRESS)


def _read_lines(source: Path) -> dict[str, tuple[Phone, ...]]:
    found: dict[str, tuple[Phone, ...]] = {}
    for number, line in numbered_lines(source, what="a file of phones"):
        where = f"{source}, line {number}"
        try:
            tree = json.loads(line)
            name, rows = tree["path"], tree["phones"]
            stem = PurePosixPath(name).stem
            triples = [(str(phone), start, end) for phone, start, end in rows]
        except (ValueError, TypeError, KeyError):
            wanted = '{"path": ..., "phones": [[name, start, end], ...]}'
            raise UserError(f"{where} is not of the form {wanted}") from None
        if stem in found:
            raise UserError(f"{where}: {stem} came before; leave one line for each recording")
        found[stem] = _in_order((where, *triple) for triple in triples)
    if not found:
        raise UserError(f"{source} has no recordings")
    return found


def _read_folder(folder: Path) -> dict[str, tuple[Phone, ...]]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".textgrid")
    if not files:
        raise UserError(f"{folder} has no .TextGrid files")
    found: dict[str, tuple[Phone, ...]] = {}
    for file in files:
        if file.stem in found:
            raise UserError(f"{file}: there is another {file.name} in {folder}; recordings need names of their own")
        intervals = read_phone_tier(file)
        found[file.stem] = _in_order((f"{file}, line {i.line}", i.label, i.start_s, i.end_s) for i in intervals)
    return found


def _in_order(rows: Iterable[tuple[str, str, object, object]]) -> tuple[Phone, ...]:
    """Phones of rows of where it is written, name, start and end; each has to come after the one before."""
    phones: list[Phone] = []
    for where, name, start, end in rows:
        start_s, end_s = stretch(start, end, where=f"{where}: {name}")
        if phones and start_s < phones[-1].end_s - _OVERLAP_S:
            raise UserError(
                f"{where}: {name} begins at {start_s} s, before {phones[-1].name} ends at {phones[-1].end_s} s"
            )
        phones.append(Phone(phone_name(name), start_s, end_s))
    return tuple(phones)


def _centres(items: Iterable[AbxItem]) -> dict[str, tuple[Phone, ...]]:
    by_stem: Mapping[str, list[AbxItem]] = defaultdict(list)
    for item in items:
        by_stem[item.stem].append(item)
    found = {}
    for stem, ours in by_stem.items():
        ours.sort(key=lambda item: (item.start_s, item.end_s))
        overlap = any(_overlap(item, later) for item, later in itertools.pairwise(ours))
        phones = _timed_by_neighbours(ours) if overlap else [(i.phone, i.start_s, i.end_s) for i in ours]
        found[stem] = tuple(Phone(phone_name(name), start_s, end_s) for name, start_s, end_s in phones)
    return found


def _timed_by_neighbours(items: Sequence[AbxItem]) -> list[tuple[str, float, float]]:
    runs = zip(items, items[1:], items[2:], strict=False)
    return [
        (item.phone, after.start_s, before.end_s)
        for before, item, after in runs
        if _follows(before, item) and _follows(item, after) and after.start_s < before.end_s
    ]


def _follows(item: AbxItem, later: AbxItem) -> bool:
    names = (item.phone, item.following) == (later.previous, later.phone)
    return names and _overlap(item, later)


def _overlap(item: AbxItem, later: AbxItem) -> bool:
    return later.start_s < item.end_s - _OVERLAP_S
