"""Units as sound again: of recordings, whose voice may become another's, or of units that were written down."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from codec.core.errors import UserError
from codec.core.lines import numbered_lines
from codec.data.audio import write_audio
from codec.data.speakers import UNKNOWN
from codec.files.each_recording import each_recording, encoded
from codec.files.speech_entries import speech_entries
from codec.files.tree import names_apart
from codec.files.unit_lines import Written
from codec.models.audible_units import AudibleConfig, AudibleUnits
from codec.models.build_units import UNIT_MODELS
from codec.models.units import UnitModel


def audible(model: UnitModel) -> AudibleUnits:
    """`model`, if its units can be heard.

    Raises:
        UserError: they cannot.
    """
    if isinstance(model, AudibleUnits):
        return model
    kinds = [config.model_fields["kind"].default for config in UNIT_MODELS if issubclass(config, AudibleConfig)]
    raise UserError(f"{model.name} has no way from units back to sound; models of kind {' or '.join(kinds)} have")


def write_sounds(
    model: AudibleUnits,
    source: Path,
    folder: Path,
    *,
    speaker: str | None = None,
    splits: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Make WAV files in `folder`, at the model's rate, of the units of `source`: recordings, or units in `.jsonl`.

    Their paths are those of the recordings below the folder that all lie in.

    Args:
        source: as for `speech_entries`, or what `write_units` wrote.
        speaker: whose voice; None: each recording's own if the model knows it, else nobody's.
        splits: of a manifest; all if there are none.

    Raises:
        UserError: the model does not know the speaker, the units are another model's, a file would be written over
            its source, or nothing could be made.
    """
    if speaker is not None:
        model.number_of(speaker)
    utterances = _written_down(model, source, splits) if _holds_units(source) else _recorded(source, splits)
    targets = _targets([utterance.path for utterance in utterances], folder)
    failures: dict[str, str] = {}

    def write(utterance: _Utterance) -> None:
        voice = speaker or (utterance.speaker if utterance.speaker in model.speakers else UNKNOWN)
        sound = model.resynthesize(_units(model, utterance), speaker=voice)
        write_audio(targets[utterance.path], sound[0], model.config.sample_rate)

    num_written = sum(1 for _ in each_recording(utterances, write, failures=failures, progress=progress))
    return Written(num_written, failures)


@dataclass(frozen=True)
class _Utterance:
    """A recording, with its units if they are known."""

    path: Path
    speaker: str = UNKNOWN
    units: tuple[int, ...] | None = None


def _recorded(source: Path, splits: Sequence[str]) -> list[_Utterance]:
    return [_Utterance(entry.path, entry.speaker or UNKNOWN) for entry in speech_entries(source, splits=splits)]


def _holds_units(source: Path) -> bool:
    """Whether the first line of `source` is one of units, not of a manifest."""
    if source.suffix != ".jsonl" or not source.is_file():
        return False
    try:
        first = json.loads(next(numbered_lines(source), (0, ""))[1])
    except ValueError:
        return False
    return isinstance(first, dict) and "units" in first


def _written_down(model: AudibleUnits, source: Path, splits: Sequence[str]) -> list[_Utterance]:
    if splits:
        raise UserError(f"{source} holds units, which have no split {splits[0]!r}: leave it out")
    return [_utterance(model, line, f"{source}, line {number}") for number, line in numbered_lines(source)]


def _utterance(model: AudibleUnits, line: str, place: str) -> _Utterance:
    try:
        tree = json.loads(line)
        name, fingerprint = tree["model"], tree["fingerprint"]
        utterance = _Utterance(Path(tree["path"]), units=tuple(int(unit) for unit in tree["units"]))
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{place} is not what `codec units encode` writes") from None
    if fingerprint != model.fingerprint:
        raise UserError(
            f"{place} is in units of {name}, fingerprint {fingerprint}; {model.name} has {model.fingerprint}: "
            "give the model that wrote them"
        )
    return utterance


def _units(model: AudibleUnits, utterance: _Utterance) -> Tensor:
    """`[1, num_units]`, read or found."""
    units = encoded(model, utterance, penalty=0.0).units if utterance.units is None else utterance.units
    return torch.tensor(units, device=next(model.buffers()).device)[None]


def _targets(paths: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """Where the sound of each of `paths` goes."""
    whole = {path: Path(os.path.abspath(path)) for path in paths}
    top = os.path.commonpath([path.parent for path in whole.values()])
    names = {path: full.relative_to(top) for path, full in whole.items()}
    apart = names_apart(dict.fromkeys(names.values(), ".wav"))
    targets = {path: folder / apart[name] for path, name in names.items()}
    sources = {path.resolve() for path in paths}
    for target in targets.values():
        if target.resolve() in sources:
            raise UserError(f"{target} is one of the recordings and would be written over: give another folder")
    return targets
