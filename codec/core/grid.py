"""What a level of codes is like, apart from the model that makes them."""

from __future__ import annotations

from typing import Protocol

from pydantic import PositiveInt

from codec.core.config import Config


class GridLike(Protocol):
    """A level as models describe theirs."""

    @property
    def num_codebooks(self) -> int: ...

    @property
    def codebook_size(self) -> int: ...

    @property
    def downsample_factor(self) -> int: ...


class Grid(Config):
    """One level of codes: how many codebooks of which size, one code per `downsample_factor` positions per axis."""

    num_codebooks: PositiveInt
    codebook_size: PositiveInt
    downsample_factor: PositiveInt = 1

    @classmethod
    def of(cls, level: GridLike) -> Grid:
        """The same as `level`, as a config."""
        return Grid(
            num_codebooks=level.num_codebooks,
            codebook_size=level.codebook_size,
            downsample_factor=level.downsample_factor,
        )
