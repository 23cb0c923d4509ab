"""What a model of units makes of recordings, beside what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codec.data.manifest import Entry
from codec.eval.phones import Phone
from codec.files.each_recording import each_recording, encoded
from codec.models.units import UnitModel
from codec.nn.features import Features


@dataclass(frozen=True)
class Heard:
    """One recording through a model.

    Attributes:
        path: of the recording.
        speaker: None if it is not known.
        duration_s: of the recording.
        phones: in order; none if they are not known.
        features: what the model hears, before it is normalised, `[frames, d]`.
        latents: before the quantizer, `[n, d]`.
        units: `[n]`, int64.
    """

    path: Path
    speaker: str | None
    duration_s: float
    phones: tuple[Phone, ...]
    features: np.ndarray
    latents: np.ndarray
    units: np.ndarray

    @property
    def stem(self) -> str:
        """The file's name without folder and suffix, by which phones are found."""
        return self.path.stem


def hear(
    model: UnitModel,
    entries: Sequence[Entry],
    phones_by_stem: Mapping[str, Sequence[Phone]] | None = None,
    *,
    failures: dict[str, str],
    penalty: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Heard]:
    """`entries` through `model`, one after the other, with the phones of those that have some.

    Args:
        failures: gets, by path, why recordings are left out: those that cannot be read, or are too short for one unit.
        penalty: of a change of units, as in `segmented_units`.

    Raises:
        UserError: all of them are left out.
    """
    plain = model.config.features.model_copy(update={"normalise": False})
    features = Features(plain, sample_rate=model.config.sample_rate).to(next(model.buffers()).device)

    def heard(entry: Entry) -> Heard:
        found = encoded(model, entry, penalty=penalty)
        return Heard(
            path=entry.path,
            speaker=entry.speaker,
            duration_s=found.speech.shape[2] / model.config.sample_rate,
            phones=tuple((phones_by_stem or {}).get(entry.path.stem, ())),
            features=features(found.speech)[0].T.cpu().numpy(),
            latents=found.latents[0].T.float().cpu().numpy(),
            units=found.units,
        )

    return each_recording(entries, heard, failures=failures, progress=progress)


def phone_classes(recordings: Iterable[Heard]) -> tuple[str, ...]:
    """Names of the phones that occur, in order."""
    return tuple(sorted({phone.name for heard in recordings for phone in heard.phones}))
