"""Phone times by an acoustic model of one's own: the best path through its log-probabilities, by torchaudio."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torchaudio.functional import forced_align

from codec.core.errors import UserError
from codec.core.program import load_program

from .align_words import SILENCE_PHONE, SILENCE_WORD, Alignment, Span, spoken_words

_PAUSES = (SILENCE_PHONE, "|")  # labels that are nothing to be heard, as the blank is
_STRESSED = re.compile(r"([A-Z]{2})[0-2]")  # AH0


class _Run(NamedTuple):
    """Frames from `start` to `stop` that carry one label."""

    start: int
    stop: int


@dataclass(frozen=True)
class Labels:
    """What an acoustic model tells apart; the first is the blank."""

    names: tuple[str, ...]

    def of(self, name: str) -> int | None:
        """The number of the label `name`, of the same in the other case, or without the stress of a vowel."""
        plain = _STRESSED.sub(r"\1", name.upper())
        found = (self._numbers.get(label) for label in (name, name.upper(), name.lower(), plain))
        return next((number for number in found if number is not None), None)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {label: number for number, label in enumerate(self.names) if number}

    def spelled(self, word: str) -> tuple[int, ...] | None:
        """The labels of the characters of `word`; None if one has none."""
        numbers = [self.of(character) for character in word]
        known = tuple(number for number in numbers if number is not None)
        return known if len(known) == len(numbers) else None


class TorchAligner:
    """CTC alignment: within a word, blank frames go half to either side; between words they are silence.

    Frames are of one length, and fill the recording. Labels named SIL or | count as blank.

    Args:
        program: signal [1, samples] to log-probabilities [1, frames, labels].
        pronounce: the labels of a word, or None if it is not known.
    """

    def __init__(
        self,
        program: Callable[[Tensor], Tensor],
        labels: Labels,
        pronounce: Callable[[str], Sequence[int] | None],
        *,
        sample_rate: int,
    ) -> None:
        self.sample_rate = sample_rate
        self._program, self._labels, self._pronounce = program, labels, pronounce
        self._silent = [number for number, name in enumerate(labels.names) if number == 0 or name in _PAUSES]

    def align(self, signal: Tensor, transcript: str) -> Alignment:
        """As `Aligner.align`."""
        words = spoken_words(transcript, lambda word: self._pronounce(word) is not None)
        spoken = [tuple(self._pronounce(word) or ()) for word in words]
        with torch.inference_mode():
            scores = self._program(signal[None])[0]
            scores[:, 0] = scores[:, self._silent].logsumexp(1)
        runs = label_runs(scores, [label for labels in spoken for label in labels])
        frame_s = len(signal) / self.sample_rate / len(scores)
        return _filled(words, spoken, runs, self._labels, num_frames=len(scores), frame_s=frame_s)


def label_runs(scores: Tensor, labels: Sequence[int]) -> list[_Run]:
    """The frames of each of `labels` on the likeliest path through `scores` [frames, labels]; 0 is the blank.

    Raises:
        UserError: there are too few frames.
    """
    needed = len(labels) + sum(first == second for first, second in pairwise(labels))
    if needed > len(scores):
        raise UserError(f"its transcript takes {needed} frames or more, and it has {len(scores)}")
    path, _ = forced_align(scores[None].float(), torch.tensor([labels], dtype=torch.int32))
    runs, start = [], 0
    for label, frames in groupby(path[0].tolist()):
        stop = start + len(list(frames))
        if label:
            runs.append(_Run(start, stop))
        start = stop
    assert len(runs) == len(labels)
    return runs


def _filled(
    words: Sequence[str],
    spoken: Sequence[Sequence[int]],
    runs: Sequence[_Run],
    labels: Labels,
    *,
    num_frames: int,
    frame_s: float,
) -> Alignment:
    word_spans: list[Span] = []
    phone_spans: list[Span] = []
    heard, remaining = 0.0, iter(runs)

    def silence_until(frame: float) -> None:
        if frame > heard:
            word_spans.append(Span(SILENCE_WORD, heard * frame_s, frame * frame_s))
            phone_spans.append(Span(SILENCE_PHONE, heard * frame_s, frame * frame_s))

    for word, numbers in zip(words, spoken, strict=True):
        own = [next(remaining) for _ in numbers]
        silence_until(own[0].start)
        inner = [(left.stop + right.start) / 2 for left, right in pairwise(own)]
        edges = [own[0].start, *inner, own[-1].stop]
        word_spans.append(Span(word, edges[0] * frame_s, edges[-1] * frame_s))
        for number, (start, stop) in zip(numbers, pairwise(edges), strict=True):
            name = _STRESSED.sub(r"\1", labels.names[number])
            phone_spans.append(Span(name, start * frame_s, stop * frame_s))
        heard = edges[-1]
    silence_until(num_frames)
    return Alignment(tuple(word_spans), tuple(phone_spans))


def load_aligner(
    acoustic_model: Path, labels: Path, *, dictionary: Path | None = None, sample_rate: int = 16000
) -> TorchAligner:
    """An aligner of files.

    Args:
        acoustic_model: as `torch.export.save` writes it, of weights alone; nothing is unpickled.
        labels: one a line; the first is the blank.
        dictionary: a word and its labels a line, the first of a word counts; None for words spelled in labels.
        sample_rate: Hz, that the model takes.

    Raises:
        UserError: a file that is not what it should be.
    """
    names = tuple(_lines(labels))
    known = Labels(names)
    pronounce = known.spelled if dictionary is None else _read_dictionary(dictionary, known).get
    program = load_program(acoustic_model)
    try:
        with torch.inference_mode():
            shape = tuple(program(torch.zeros(1, sample_rate)).shape)
    except Exception as error:
        first_line = str(error).partition("\n")[0]
        raise UserError(f"{acoustic_model} does not take a signal [1, {sample_rate}]: {first_line}") from None
    if len(shape) != 3 or shape[0] != 1 or shape[2] != len(names):
        raise UserError(
            f"{acoustic_model} gives {list(shape)} for one signal; {labels} asks for [1, frames, {len(names)}]"
        )
    return TorchAligner(program, known, pronounce, sample_rate=sample_rate)


def _read_dictionary(path: Path, labels: Labels) -> Mapping[str, tuple[int, ...]]:
    words: dict[str, tuple[int, ...]] = {}
    numbers: dict[str, int | None] = {}
    for line in _lines(path):
        word, *names = line.split()
        if word.startswith(";;;"):
            continue
        for name in names:
            if numbers.setdefault(name, labels.of(name)) is None:
                raise UserError(f"{path} says {word} with {name}, which is not among the labels")
        pronounced = tuple(number for name in names if (number := numbers[name]) is not None)
        words.setdefault(word.lower(), pronounced)
    return {word: pronounced for word, pronounced in words.items() if pronounced}


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not text in UTF-8") from None
