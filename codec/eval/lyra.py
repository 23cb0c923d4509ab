"""Lyra v2, a neural codec of speech (SoundStream: Zeghidour et al. 2021), run from a folder that holds its weights.

The environment variable CODEC_LYRA names the folder with the .tflite files of its encoder, quantizer and decoder,
which the package `ai-edge-litert` runs. A frame is 20 ms at 16 kHz, and is coded as 16, 30 or 46 numbers of 4 bits.
"""

from __future__ import annotations

import importlib.util
import os
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from codec.eval.channelwise import Voice, channelwise
from codec.eval.rivals import RivalResult

FOLDER = "CODEC_LYRA"
LYRA_BPS = (3200, 6000, 9200)
_RATE = 16000
_FRAME = 320  # samples
_BITS = 4
_MOST_STAGES = 46
_PARTS = ("soundstream_encoder.tflite", "quantizer.tflite", "lyragan.tflite")


def has_lyra() -> bool:
    """Whether CODEC_LYRA names a folder with its weights, and the package that runs them is installed."""
    folder = os.environ.get(FOLDER)
    whole = bool(folder) and all(Path(folder, part).is_file() for part in _PARTS)
    return whole and importlib.util.find_spec("ai_edge_litert") is not None


def lyra(signal: Tensor, sample_rate: int, folder: Path, channel_bps: int) -> RivalResult:
    """Lyra v2 at one of `LYRA_BPS`, channel by channel; its codes go to a file without any header.

    Args:
        signal: `[c, time]` in [-1, 1] at `sample_rate` Hz.
        folder: where its files go.
    """
    network = _network(os.environ[FOLDER])
    stages = channel_bps * _FRAME // (_RATE * _BITS)

    def code(channel: NDArray[np.float64], index: int) -> Voice:
        coded = folder / f"lyra-{channel_bps}-{index}.bin"
        start = time.perf_counter()
        coded.write_bytes(_packed(network.encode(channel, stages)))
        encoded_at = time.perf_counter()
        decoded = network.decode(_unpacked(coded.read_bytes(), stages))
        return Voice(coded, decoded, encoded_at - start, time.perf_counter() - encoded_at)

    setting = f"{channel_bps / 1000:g} kbit/s"
    return channelwise(signal, sample_rate, _RATE, code, name="Lyra v2", setting=setting, note="16 kHz, by LiteRT")


class _Lyra:
    """Its encoder, quantizer and decoder, which keep what they have heard from frame to frame."""

    def __init__(self, folder: Path):
        from ai_edge_litert.interpreter import Interpreter  # pyright: ignore[reportMissingImports]

        self._encoder, self._quantizer, self._decoder = (
            Interpreter(str(folder / part), num_threads=1) for part in _PARTS
        )
        self._analyse: Any = self._encoder.get_signature_runner()
        self._to_codes: Any = self._quantizer.get_signature_runner("encode")
        self._from_codes: Any = self._quantizer.get_signature_runner("decode")
        self._synthesise: Any = self._decoder.get_signature_runner()

    def encode(self, channel: NDArray[np.float64], stages: int) -> NDArray[np.uint8]:
        """Samples `[time]` to codes `[frames, stages]`."""
        self._encoder.reset_all_variables()
        whole = np.pad(channel, (0, -len(channel) % _FRAME)).astype(np.float32)
        codes = np.empty((len(whole) // _FRAME, stages), np.uint8)
        for row, frame in zip(codes, whole.reshape(-1, 1, _FRAME), strict=True):
            features = self._analyse(input_audio=frame)["output_0"]
            row[:] = self._to_codes(input_frames=features, num_quantizers=np.int32(stages))["output_0"][:stages, 0, 0]
        return codes

    def decode(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Codes `[frames, stages]` to samples `[time]`."""
        self._decoder.reset_all_variables()
        padded = np.full((_MOST_STAGES, 1, 1), -1, np.int32)  # -1: a stage that is not used
        pieces = []
        for row in codes:
            padded[: len(row), 0, 0] = row
            features = self._from_codes(encoding_indices=padded)["output_0"]
            pieces.append(self._synthesise(input_audio=features)["output_0"][0].copy())
        return np.concatenate(pieces)


@lru_cache(maxsize=1)
def _network(folder: str) -> _Lyra:
    return _Lyra(Path(folder))


def _packed(codes: NDArray[np.uint8]) -> bytes:
    """Two codes to a byte; every rate has an even number of stages."""
    return (codes[:, 0::2] << _BITS | codes[:, 1::2]).tobytes()


def _unpacked(data: bytes, stages: int) -> NDArray[np.uint8]:
    pairs = np.frombuffer(data, np.uint8).reshape(-1, stages // 2)
    return np.stack((pairs >> _BITS, pairs & 0x0F), axis=-1).astype(np.uint8).reshape(-1, stages)
