"""What a model of units makes of recordings, beside what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from codec.data.audio import read_audio
from codec.data.manifest import Entry
from codec.eval.phones import Phone
from codec.models.segmented import segmented_units
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


@torch.inference_mode()
def hear(
    model: UnitModel,
    entries: Sequence[Entry],
    phones_by_stem: Mapping[str, Sequence[Phone]] | None = None,
    *,
    penalty: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Heard]:
    """`entries` through `model`, one after the other, with the phones of those that have some.

    Args:
        penalty: of a change of units, as in `segmented_units`.

    Raises:
        UserError: a recording cannot be read, or is too short for one unit.
    """
    device = next(model.buffers()).device
    plain = model.config.features.model_copy(update={"normalise": False})
    features = Features(plain, sample_rate=model.config.sample_rate).to(device)
    for number, entry in enumerate(entries, 1):
        signal, _ = read_audio(entry.path, sample_rate=model.config.sample_rate, channels=1)
        speech = signal[None].to(device)
        latents = model.latents(speech)
        yield Heard(
            path=entry.path,
            speaker=entry.speaker,
            duration_s=signal.shape[1] / model.config.sample_rate,
            phones=tuple((phones_by_stem or {}).get(entry.path.stem, ())),
            features=features(speech)[0].T.cpu().numpy(),
            latents=latents[0].T.float().cpu().numpy(),
            units=segmented_units(model, latents, penalty=penalty)[0].cpu().numpy(),
        )
        if progress:
            progress(number, len(entries))


def phone_classes(recordings: Iterable[Heard]) -> tuple[str, ...]:
    """Names of the phones that occur, in order."""
    return tuple(sorted({phone.name for heard in recordings for phone in heard.phones}))
