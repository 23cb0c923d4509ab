"""Phone times by PocketSphinx: English, with the acoustic model and the dictionary that its package carries."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any

from torch import Tensor

from codec.core.errors import UserError

from .align_words import SILENCE_PHONE, SILENCE_WORD, Alignment, Span, spoken_words

_PRONUNCIATION = re.compile(r"\(\d+\)$")  # the(2)
_FILLERS = {SILENCE_WORD, "<s>", "</s>", "[NOISE]", "[SPEECH]"}
_FILLER_PHONES = {SILENCE_PHONE, "+NSN+", "+SPN+"}
_NOT_HEARD = "the recording does not say its transcript, as far as PocketSphinx can hear"


class PocketSphinxAligner:
    """Words first, with pauses wherever they fit and the best of each word's pronunciations; then phones in them.

    Frames are of 10 ms, each told from a window of 25.6 ms that begins with it: the sound in the middle of that is
    7.8 ms later than PocketSphinx counts, and times here are those of the sound. A word comes back with the number of
    its pronunciation, if that is not the dictionary's first: `the(2)`. A recording's times do not depend on those
    before it.

    Raises:
        UserError: the package is not installed.
    """

    sample_rate = 16000

    def __init__(self) -> None:
        try:
            package: Any = import_module("pocketsphinx")
        except ImportError:
            raise UserError(
                "alignment needs PocketSphinx, which is not installed: pip install 'vq-codec[align]', "
                "or choose --aligner torch"
            ) from None
        # Its search for the best path through a lattice may leave phones fewer frames than they have states.
        self._decoder = package.Decoder(lm=None, bestpath=False, samprate=self.sample_rate, loglevel="FATAL")
        self._frame_rate = self._decoder.config["frate"]
        self._lead_s = (self._decoder.config["wlen"] - 1 / self._frame_rate) / 2
        self._knows = lru_cache(maxsize=None)(lambda word: self._decoder.lookup_word(word) is not None)

    def align(self, signal: Tensor, transcript: str) -> Alignment:
        """As `Aligner.align`."""
        words = spoken_words(transcript, self._knows)
        samples = (signal * 32768).round().clamp(-32768, 32767).short().numpy().tobytes()
        self._decoder.set_align_text(" ".join(words))
        self._hear(samples)
        self._check_heard(words)
        self._decoder.set_alignment()
        self._hear(samples)
        words_found, phones_found = [], []
        duration_s = len(signal) / self.sample_rate
        for entry in self._decoder.get_alignment() or ():  # an entry is gone once the next one is asked for
            words_found.append(self._span(entry, _FILLERS, SILENCE_WORD, duration_s))
            phones_found.extend(self._span(phone, _FILLER_PHONES, SILENCE_PHONE, duration_s) for phone in entry)
        return Alignment(tuple(words_found), tuple(phones_found))

    def _hear(self, samples: bytes) -> None:
        self._decoder.reinit_feat()  # forgets the noise and the loudness of what it heard before
        try:
            self._decoder.start_utt()
            self._decoder.process_raw(samples, full_utt=True)
            self._decoder.end_utt()
        except RuntimeError:
            raise UserError(_NOT_HEARD) from None

    def _check_heard(self, words: Sequence[str]) -> None:
        segments = [segment.word for segment in self._decoder.seg() or ()]
        heard = [_PRONUNCIATION.sub("", word) for word in segments if word not in _FILLERS]
        if heard != list(words):
            raise UserError(_NOT_HEARD)

    def _span(self, entry: Any, fillers: set[str], silence: str, duration_s: float) -> Span:
        name = silence if entry.name in fillers else entry.name
        start, end = (self._time_s(frame, duration_s) for frame in (entry.start, entry.start + entry.duration))
        return Span(name, start, end)

    def _time_s(self, frame: int, duration_s: float) -> float:
        """When a recording's sound is that of `frame`; the first begins with the recording."""
        return min(frame / self._frame_rate + self._lead_s, duration_s) if frame else 0.0
