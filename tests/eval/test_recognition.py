from functools import lru_cache
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from codec.data.manifest import Entry, Manifest, read_manifest
from codec.eval import evaluate, recognition
from codec.eval.recognition import find_recogniser, hearing, word_errors, words
from codec.models.tiny import tiny_model
from tests.eval.corpus import write_recordings

SENTENCES = st.lists(st.sampled_from("abc"), max_size=6)


def slow_errors(said, heard):
    """By the recursion itself."""

    @lru_cache(None)
    def errors(i, j):
        if not i or not j:
            return i + j
        return min(errors(i - 1, j) + 1, errors(i, j - 1) + 1, errors(i - 1, j - 1) + (said[i - 1] != heard[j - 1]))

    return errors(len(said), len(heard))


@given(said=SENTENCES, heard=SENTENCES)
def test_errors_are_those_of_the_recursion(said, heard):
    assert word_errors(said, heard) == slow_errors(said, heard) == word_errors(heard, said)


def test_case_and_punctuation_are_no_errors():
    assert words("It's THE end, isn't it?") == ["it's", "the", "end", "isn't", "it"]


class Parrot:
    """A recogniser that hears the same whatever is said."""

    def text(self, signal, sample_rate):
        return "One two, four!"


def transcribed(folder):
    manifest = read_manifest(write_recordings(folder))
    said = ("one two three four", "", "one two four")
    entries = tuple(entry.model_copy(update={"transcript": text}) for entry, text in zip(manifest, said, strict=True))
    return Manifest(manifest.path, entries)


def test_every_recording_with_a_whole_transcript_has_its_rate(tmp_path):
    report = evaluate(tiny_model("audio"), transcribed(tmp_path), recogniser=Parrot(), seconds=1.0)
    assert [row["scores"]["wer"] for row in report["items"]] == [0.25, None, None]
    assert "no transcript" in report["items"][1]["notes"]["wer"] and "more than" in report["items"][2]["notes"]["wer"]
    whole = evaluate(tiny_model("audio"), transcribed(tmp_path), recogniser=Parrot())
    assert whole["results"]["wer"] == [0.125]


def test_without_packages_there_is_no_recogniser_and_no_score(monkeypatch):
    monkeypatch.setattr(recognition.importlib.util, "find_spec", lambda name: None)
    assert find_recogniser() is None
    assert hearing(None, Entry(path=Path("a.wav"), kind="audio")) is None


def test_silence_has_hardly_any_words():
    recogniser = find_recogniser()
    if recogniser is None:
        pytest.skip("faster-whisper and its weights are not installed")
    assert len(words(recogniser.text(torch.zeros(1, 16000), 16000))) < 3
