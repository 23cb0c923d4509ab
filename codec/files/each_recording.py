"""Recordings one after the other, none of which stops the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from codec.core.errors import UserError
from codec.data.audio import read_audio
from codec.models.segmented import segmented_units
from codec.models.units import UnitModel

Made = TypeVar("Made")


class Named(Protocol):
    """A recording, or its units, by the path of the recording."""

    @property
    def path(self) -> Path: ...


Source = TypeVar("Source", bound=Named)


@dataclass(frozen=True, eq=False)
class Encoded:
    """One recording in units.

    Attributes:
        speech: `[1, 1, time]` at the model's sample rate, on its device.
        latents: before the quantizer, `[1, d, n]`.
        units: `[n]`, int64.
    """

    speech: Tensor
    latents: Tensor
    units: np.ndarray


def encoded(model: UnitModel, entry: Named, *, penalty: float) -> Encoded:
    """A recording in the units of `model`, where every change of them costs `penalty`, as in `segmented_units`.

    Raises:
        UserError: it cannot be read, or is too short for one unit.
    """
    signal, _ = read_audio(entry.path, sample_rate=model.config.sample_rate, channels=1)
    speech = signal[None].to(next(model.buffers()).device)
    latents = model.latents(speech)
    return Encoded(speech, latents, segmented_units(model, latents, penalty=penalty)[0].cpu().numpy())


@torch.inference_mode()
def each_recording(
    entries: Sequence[Source],
    make: Callable[[Source], Made],
    *,
    failures: dict[str, str],
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Made]:
    """What `make` makes of each of `entries`, without those that it fails for, or has not the memory for.

    Args:
        failures: gets the reasons, by path.

    Raises:
        UserError: it fails for all.
    """
    num_made = 0
    for number, entry in enumerate(entries, 1):
        try:
            made = make(entry)
        except UserError as error:
            failures[str(entry.path)] = str(error)
        except (torch.OutOfMemoryError, MemoryError):
            failures[str(entry.path)] = "it does not fit into memory: cut it into shorter recordings, or use the CPU"
        else:
            num_made += 1
            yield made
        if progress:
            progress(number, len(entries))
    if failures and not num_made:
        path, reason = next(iter(failures.items()))
        raise UserError(f"no recording could be read; the first, {path}: {reason}")
