"""What a model can code and decode; anything else is one clear line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from codec.core.errors import UserError
from codec.core.wording import counted
from codec.models.media import Media


@dataclass(frozen=True)
class CodeGrid:
    """One level of codes: how many codebooks of which size, one code per `downsample_factor` positions per axis."""

    num_codebooks: int
    codebook_size: int
    downsample_factor: int


def check_signal(signal: Tensor, media: Media, name: str) -> None:
    """UserError unless `signal` is `[b, channels, *space]` of `media`, as the model `name` wants, and not empty."""
    wanted = "[b, channels, time]" if media.ndim == 1 else "[b, channels, height, width]"
    if signal.dim() != media.ndim + 2:
        raise UserError(f"signal has shape {tuple(signal.shape)}; {name} wants {wanted}")
    if signal.shape[1] != media.channels:
        raise UserError(f"signal has {signal.shape[1]} channels; {name} was built for {media.channels}")
    if 0 in signal.shape:
        raise UserError(f"signal of shape {tuple(signal.shape)} is empty: nothing to encode")


def check_number_of_levels(codes: Sequence[Tensor], levels: Sequence[CodeGrid], name: str) -> None:
    """UserError unless `codes` hold from one of the `levels` of the model `name` up to all of them."""
    if not 1 <= len(codes) <= len(levels):
        raise UserError(f"{len(codes)} levels of codes were given; {name} decodes 1 to {len(levels)}")


def check_codes(codes: Sequence[Tensor], levels: Sequence[CodeGrid], ndim: int, name: str) -> None:
    """UserError unless `codes`, `[b, q, *space]` each, are of the first of `levels` of the model `name`."""
    check_number_of_levels(codes, levels, name)
    for level, grid in zip(codes, levels, strict=False):
        if level.dim() != ndim + 2 or not 1 <= level.shape[1] <= grid.num_codebooks:
            raise UserError(
                f"codes have shape {tuple(level.shape)}; {name} has {counted(grid.num_codebooks, 'codebook')}"
            )
        if level.numel() and not 0 <= int(level.min()) <= int(level.max()) < grid.codebook_size:
            raise UserError(f"codes reach outside 0..{grid.codebook_size - 1}: they are of another model")
