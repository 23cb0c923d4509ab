"""The words of a transcript, and the times that an aligner finds for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from codec.core.errors import UserError

SILENCE_WORD, SILENCE_PHONE = "<sil>", "SIL"
_DASHES, _QUOTES, _APOSTROPHES = "\u2013\u2014", "\u201c\u201d\u201e\u00ab\u00bb", "\u2018\u2019"
_SILENT_SIGNS = f'.,;:!?"()[]{{}}\u2026{_DASHES}{_QUOTES}'
_NOT_SPOKEN = str.maketrans(dict.fromkeys(_SILENT_SIGNS, " ") | dict.fromkeys(_APOSTROPHES, "'"))


@dataclass(frozen=True)
class Span:
    """What is said from `start_s` to `end_s`, in seconds from the recording's beginning."""

    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Alignment:
    """Words and phones, silences among them, each in order and without gaps between them."""

    words: tuple[Span, ...]
    phones: tuple[Span, ...]


class Aligner(Protocol):
    """Finds when each word of a transcript is spoken."""

    @property
    def sample_rate(self) -> int:
        """Hz, of the signals it takes."""
        ...

    def align(self, signal: Tensor, transcript: str) -> Alignment:
        """Times of `transcript` in `signal` [samples].

        Raises:
            UserError: a word is not in the dictionary, or the recording does not say the transcript.
        """
        ...


def spoken_words(transcript: str, knows: Callable[[str], bool]) -> Sequence[str]:
    """The words of `transcript`, in lower case and without punctuation; a hyphen ends a word that is unknown with it.

    Other signs stay: `5%` and `&` are spoken, but how is not written.

    Args:
        knows: whether the dictionary has a word.

    Raises:
        UserError: a word is unknown, or there is none.
    """
    words: list[str] = []
    for token in transcript.lower().translate(_NOT_SPOKEN).split():
        pieces = [token] if knows(token) else token.split("-")
        bare = (piece if knows(piece) else piece.strip("'") for piece in pieces)
        words.extend(word for word in bare if word)
    if not words:
        raise UserError("its transcript has no words")
    if unknown := sorted({word for word in words if not knows(word)}):
        raise UserError(f"not in the dictionary: {', '.join(unknown)}")
    return words
