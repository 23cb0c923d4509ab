"""Codecs of one voice at a sample rate of their own, on sound of any rate and number of channels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.eval.rivals import RivalResult


@dataclass(frozen=True)
class Voice:
    """One channel, coded and decoded: its file, the samples `[time]` that came back, and the seconds it took."""

    coded: Path
    decoded: NDArray[np.floating]
    encode_s: float
    decode_s: float


def channelwise(
    signal: Tensor,
    sample_rate: int,
    own_rate: int,
    code: Callable[[NDArray[np.float64], int], Voice],
    *,
    name: str,
    setting: str,
    note: str = "",
) -> RivalResult:
    """Every channel of `signal` `[c, time]` through `code` by itself, resampled to `own_rate` and back.

    Args:
        code: takes a channel `[time]` at `own_rate` Hz and its index.
        name, setting, note: of the `RivalResult`; its bytes and seconds are sums over channels.
    """
    voices = [
        code(_resampled(channel, sample_rate, own_rate), index) for index, channel in enumerate(signal.double().numpy())
    ]
    back = [_fitted(_resampled(voice.decoded, own_rate, sample_rate), signal.shape[1]) for voice in voices]
    return RivalResult(
        name=name,
        setting=setting,
        path=voices[0].coded,
        num_bytes=sum(voice.coded.stat().st_size for voice in voices),
        signal=torch.from_numpy(np.stack(back)).float(),
        encode_s=sum(voice.encode_s for voice in voices),
        decode_s=sum(voice.decode_s for voice in voices),
        note=note,
    )


def _resampled(row: NDArray, rate: int, wanted: int) -> NDArray:
    return row if rate == wanted else soxr.resample(row, rate, wanted)


def _fitted(row: NDArray, length: int) -> NDArray:
    return np.pad(row[:length], (0, max(0, length - len(row))))
