import os

import pytest
import soundfile
import torch

from codec.eval import RivalFailure, RivalResult, speech_codecs, speech_rivals
from codec.eval.speech_codecs import SpeechCodec, speech_sweep
from codec.metrics import si_sdr
from tests.metrics.signals import RATE, value, voice

SPEECH = torch.from_numpy(voice(1.5)).float()[None]


@pytest.mark.skipif(not speech_codecs.has_opus_tools(), reason="opus-tools is not installed")
def test_opus_at_a_high_rate_is_nearly_the_signal(tmp_path):
    result = speech_codecs.opus(SPEECH, RATE, tmp_path, 64000)
    assert result.signal.shape == SPEECH.shape
    assert 8 * result.num_bytes / 1.5 == pytest.approx(64000, rel=0.1)
    assert value(si_sdr(SPEECH, result.signal)) > 10


@pytest.mark.skipif(not speech_codecs.has_codec2(), reason="codec2 is not installed")
def test_codec2_takes_each_channel_by_itself(tmp_path):
    mono = speech_codecs.codec2(SPEECH, RATE, tmp_path, 1300)
    both = speech_codecs.codec2(SPEECH.repeat(2, 1), RATE, tmp_path, 1300)
    assert both.num_bytes == 2 * mono.num_bytes and both.signal.shape == (2, SPEECH.shape[1])


def test_without_programs_the_library_stands_in(tmp_path, monkeypatch):
    monkeypatch.setattr(speech_codecs.shutil, "which", lambda program: None)
    (result,) = speech_rivals(SPEECH, RATE, tmp_path, bitrate_bps=2000)
    assert isinstance(result, RivalResult)
    assert result.note == "by libsndfile" and result.num_bytes == result.path.stat().st_size


@pytest.mark.parametrize("num_samples", [1, 100])
def test_rivals_take_what_is_hardly_a_sound_and_any_rate_asked_for(num_samples, tmp_path):
    for bitrate_bps in (1, 1e7):
        for result in speech_rivals(SPEECH[:, :num_samples], RATE, tmp_path, bitrate_bps=bitrate_bps):
            assert isinstance(result, RivalResult) and result.num_bytes > 0


def test_a_rival_that_breaks_down_is_told_and_the_next_one_runs(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    for name, line in {"opusenc": "echo no such option >&2; exit 3", "opusdec": "true", "c2enc": "exit 4"}.items():
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
    (tmp_path / "bin" / "c2dec").symlink_to(tmp_path / "bin" / "c2enc")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert speech_rivals(SPEECH, RATE, tmp_path, bitrate_bps=2000) == [
        RivalFailure("Opus", "opusenc failed: no such option"),
        RivalFailure("Codec2", "c2enc failed: exit code 4"),
    ]


def test_an_error_of_libsndfile_is_a_failure_of_the_rival(tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise soundfile.LibsndfileError(1, "in a test: ")

    monkeypatch.setattr(speech_codecs.shutil, "which", lambda program: None)
    monkeypatch.setattr(speech_codecs.soundfile, "write", fail)
    (failure,) = speech_rivals(SPEECH, RATE, tmp_path, bitrate_bps=2000)
    assert isinstance(failure, RivalFailure) and failure.reason.startswith("in a test")


def echo(name, rates, ladder):
    """A codec that gives back what it gets, and says at which rate it was asked."""

    def run(signal, sample_rate, folder, channel_bps):
        (path := folder / "echo").write_bytes(b"1")
        return RivalResult(name, str(channel_bps), path, 1, signal, 0.0, 0.0)

    return SpeechCodec(name, rates, ladder, run)


def test_each_codec_is_asked_for_its_nearest_rate_per_channel_or_for_all_of_its_ladder(tmp_path, monkeypatch):
    found = [echo("a", range(6000, 9001, 1000), (6000, 9000)), echo("b", (700, 3200), (3200,))]
    monkeypatch.setattr(speech_codecs, "speech_codecs", lambda sample_rate: found)
    both = SPEECH.repeat(2, 1)

    def asked(results):
        return [(result.name, result.setting) for result in results]

    assert asked(speech_rivals(both, RATE, tmp_path, bitrate_bps=14900)) == [("a", "7000"), ("b", "3200")]
    assert asked(speech_rivals(SPEECH, RATE, tmp_path, bitrate_bps=1000)) == [("a", "6000"), ("b", "700")]
    assert asked(speech_sweep(SPEECH, RATE, tmp_path)) == [("a", "6000"), ("a", "9000"), ("b", "3200")]
