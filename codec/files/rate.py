"""How many bits a second codes take, nominally and by their counts, and how many codebooks come nearest to a wish."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from codec.core.errors import UserError
from codec.core.wording import counted
from codec.files.errors import WrongMediaError
from codec.files.header import LevelHeader
from codec.models.base import CodecModel
from codec.models.media import AudioMedia
from codec.priors.coding import CodingPrior

_BITRATE = re.compile(r"(\d+|\d+\.\d+)(k?)", re.ASCII)


def parse_bitrate(text: str) -> float:
    """Bits per second of `3k`, `0.75k` or `3000`.

    Raises:
        UserError: it is none of that, nothing at all, or without end.
    """
    found = _BITRATE.fullmatch(text)
    bitrate_bps = float(found[1]) * (1000 if found[2] else 1) if found else 0.0
    if not 0 < bitrate_bps < math.inf:
        raise UserError(f"bitrate {text!r} is none: give bits per second, such as 3000, 3k or 0.75k")
    return bitrate_bps


def active_levels(model: CodecModel, num_active: int | None) -> tuple[LevelHeader, ...]:
    """The model's levels with their first `num_active` codebooks, or all.

    Raises:
        UserError: the model does not work with so many.
    """
    rates = model.rates
    if num_active is not None and num_active not in rates:
        spans = len(rates) == rates[-1] > 1
        known = f"1 to {rates[-1]}" if spans else ", ".join(map(str, rates))
        asked = f"{counted(num_active, 'codebook')} {'was' if num_active == 1 else 'were'} asked for"
        raise UserError(f"{asked}; {model.name} has {known}")
    return tuple(
        LevelHeader(
            level.downsample_factor,
            level.codebook_size,
            min(level.num_codebooks, num_active or level.num_codebooks),
        )
        for level in model.levels
    )


def expected_bps(
    model: CodecModel, levels: Sequence[LevelHeader], rows: int = 1, prior: CodingPrior | None = None
) -> float:
    """Bits per second of codes that are as common as in training: frame rate times entropy, over codebooks and rows.

    With a prior, what it took of that in recordings it had not learnt from. A recording unlike those takes more.

    Args:
        levels: the model's, with as many codebooks as are in use.
        rows: signals coded side by side.
        prior: codes them, and counts if it was measured (`CodingPrior.shares`), at rates between in proportion.
    """
    media = model.media
    assert isinstance(media, AudioMedia)
    most = max(level.num_active for level in levels)
    bitrate_bps = 0.0
    for level, histogram in zip(levels, model.code_histograms(most), strict=True):
        share = histogram[: level.num_active].double()
        share = share / share.sum(1, keepdim=True)
        entropy = -(share * share.clamp_min(1e-12).log2()).sum()
        bitrate_bps += media.sample_rate / level.downsample_factor * float(entropy)
    if prior and prior.shares:
        measured = sorted(prior.shares)
        bitrate_bps *= float(np.interp(most, measured, [prior.shares[number] for number in measured]))
    return rows * bitrate_bps


def nearest_levels(
    model: CodecModel, bitrate_bps: float, rows: int = 1, prior: CodingPrior | None = None
) -> tuple[LevelHeader, ...]:
    """The levels of that rate of the model whose expected bits per second are nearest; of two as near, the lower.

    Args: as of `expected_bps`.

    Raises:
        WrongMediaError: the model codes pictures.
    """
    media = model.media
    if not isinstance(media, AudioMedia):
        raise WrongMediaError(f"a bitrate is of sound, and {model.name} codes pictures: give --num-active instead")
    return min(
        (active_levels(model, num_active) for num_active in model.rates),
        key=lambda levels: abs(expected_bps(model, levels, rows, prior) - bitrate_bps),
    )
