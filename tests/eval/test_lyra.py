import importlib.util

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from codec.eval import lyra as lyra_codec
from codec.eval.lyra import FOLDER, LYRA_BPS, has_lyra, lyra
from codec.metrics import align, stoi
from tests.conftest import SHARED
from tests.metrics.signals import RATE, value, voice

WEIGHTS = SHARED.parent / "peers" / "lyra"
SPEECH = torch.from_numpy(voice(1.5)).float()[None]


@given(stages=st.sampled_from([16, 30, 46]), frames=st.integers(0, 9), seed=st.integers(0, 99))
def test_codes_survive_their_bytes_at_four_bits_each(stages, frames, seed):
    codes = np.random.default_rng(seed).integers(0, 16, (frames, stages), dtype=np.uint8)
    data = lyra_codec._packed(codes)
    assert 8 * len(data) == 4 * codes.size
    assert np.array_equal(lyra_codec._unpacked(data, stages), codes)


class Loudness:
    """A stand-in: the first code of a frame is how loud it is, and decodes to a constant."""

    def encode(self, channel, stages):
        whole = np.pad(channel, (0, -len(channel) % 320)).reshape(-1, 320)
        codes = np.full((len(whole), stages), 5, np.uint8)
        codes[:, 0] = np.rint(15 * np.abs(whole).max(1))
        return codes

    def decode(self, codes):
        assert (codes[:, 1:] == 5).all()
        return np.repeat(codes[:, 0] / 15, 320)


@pytest.mark.parametrize("bitrate_bps", LYRA_BPS)
def test_every_channel_is_decoded_from_a_file_of_the_rate_it_says(bitrate_bps, tmp_path, monkeypatch):
    monkeypatch.setattr(lyra_codec, "_network", lambda folder: Loudness())
    monkeypatch.setenv(FOLDER, "anywhere")
    both = torch.stack((torch.full((16000,), 0.2), torch.full((16000,), 0.6)))
    result = lyra(both, RATE, tmp_path, bitrate_bps)
    assert 8 * result.num_bytes == 2 * bitrate_bps and result.setting == f"{bitrate_bps / 1000:g} kbit/s"
    assert torch.allclose(result.signal, both)


def test_without_its_folder_or_a_file_in_it_lyra_is_not_here(tmp_path, monkeypatch):
    monkeypatch.setattr(lyra_codec.importlib.util, "find_spec", lambda name: object())
    monkeypatch.delenv(FOLDER, raising=False)
    assert not has_lyra()
    monkeypatch.setenv(FOLDER, str(tmp_path))
    for part in lyra_codec._PARTS:
        assert not has_lyra()
        (tmp_path / part).touch()
    assert has_lyra()
    monkeypatch.setattr(lyra_codec.importlib.util, "find_spec", lambda name: None)
    assert not has_lyra()


@pytest.mark.shared
@pytest.mark.skipif(importlib.util.find_spec("ai_edge_litert") is None, reason="ai-edge-litert is not installed")
def test_what_lyra_gives_back_is_the_same_speech(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(WEIGHTS))
    result = lyra(SPEECH, RATE, tmp_path, 9200)
    pair = align(SPEECH, result.signal, sample_rate=RATE)
    assert value(stoi(pair.reference, pair.estimate, sample_rate=RATE)) > 0.7
