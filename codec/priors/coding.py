"""The codes of all levels of a model to bytes and back, under a prior of integers."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, Literal, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from codec.core.config import Config
from codec.core.errors import UserError
from codec.entropy import SymbolDecoder, SymbolEncoder
from codec.priors.base import Condition, Geometry
from codec.priors.integer import IntegerConfig, IntegerPrior, Prediction

Codes = tuple[npt.NDArray[np.integer], ...]  # per level [rows, q, *space]
ConfigT = TypeVar("ConfigT", bound=Config)


class CodingPrior(nn.Module, Generic[ConfigT]):
    """What codes the codes of a chunk in exact integers.

    Args:
        geometry: of the finest level.

    Attributes:
        grids: of all levels, coarse to fine.
        name, fingerprint: given on loading.
        model_fingerprint: of the model whose codes these are.
        shares: what it was seen to take of the bits that static tables take, by number of codebooks in use; empty where
            nobody measured.
    """

    def __init__(self, config: ConfigT, geometry: Geometry):
        super().__init__()
        self.config, self.geometry = config, geometry
        self.grids = (*geometry.coarser, geometry.level)
        self.name, self.fingerprint, self.model_fingerprint = "unsaved", "0" * 16, "0" * 16
        self.shares: dict[int, float] = {}

    @abstractmethod
    def encode(self, codes: Codes) -> bytes:
        """The bytes of codes, per level `[rows, q, *space]`, of the first q codebooks."""

    @abstractmethod
    def decode(self, data: bytes, shapes: Sequence[tuple[int, ...]]) -> Codes:
        """The codes that `encode` took, per level of shape `[rows, q, *space]`.

        Raises:
            ValueError: no codes have these bytes.
        """


class ContextCodingConfig(Config):
    """Integer priors of every level of a model, coarse to fine."""

    kind: Literal["integer"] = "integer"
    levels: tuple[IntegerConfig, ...]


class ContextCodingPrior(CodingPrior[ContextCodingConfig]):
    """Integer priors of every level of a model, coarse to fine, each given the levels above it.

    Raises:
        UserError: config and geometry are not of equally many levels.
    """

    def __init__(self, config: ContextCodingConfig, geometry: Geometry):
        super().__init__(config, geometry)
        if len(config.levels) != len(self.grids):
            raise UserError(f"the prior has {len(config.levels)} levels, its codes have {len(self.grids)}")
        self.levels = nn.ModuleList(
            IntegerPrior(level, Geometry(ndim=geometry.ndim, level=grid, coarser=self.grids[:index]))
            for index, (level, grid) in enumerate(zip(config.levels, self.grids, strict=True))
        )

    def encode(self, codes: Codes) -> bytes:
        encoder = SymbolEncoder()
        above: tuple[Tensor, ...] = ()
        for prior, level in zip(self.levels, codes, strict=True):
            flat = level.reshape(len(level), -1).astype(np.int64)

            def put(prediction: Prediction, group: Tensor, flat: npt.NDArray[np.int64] = flat) -> Tensor:
                wanted = flat[:, group.numpy()]
                prediction.put(encoder, wanted)
                return torch.from_numpy(wanted)

            above = (*above, _coded(cast(IntegerPrior, prior), level.shape, above, put))
        return encoder.finish()

    def decode(self, data: bytes, shapes: Sequence[tuple[int, ...]]) -> Codes:
        decoder = SymbolDecoder(data)
        above: tuple[Tensor, ...] = ()
        for prior, shape in zip(self.levels, shapes, strict=True):
            level = _coded(
                cast(IntegerPrior, prior), shape, above, lambda found, _: torch.from_numpy(found.take(decoder))
            )
            above = (*above, level)
        return tuple(level.numpy() for level in above)


def _coded(
    prior: IntegerPrior,
    shape: tuple[int, ...],
    above: tuple[Tensor, ...],
    exchange: Callable[[Prediction, Tensor], Tensor],
) -> Tensor:
    """Codes `[rows, q, *space]`, step by step: `exchange` takes a prediction and its group, gives codes `[rows, n]`."""
    rows, num_active, *space = shape
    size = tuple(space)
    state = prior.start(size, condition=Condition(coarser=above), batch=rows, num_active=num_active)
    codes = torch.empty(rows, num_active * math.prod(size), dtype=torch.int64)
    known = None
    for group in prior.groups(size, num_active=num_active):
        prediction, state = prior.step(state, known)
        known = exchange(prediction, group)
        codes[:, group] = known
    return codes.view(shape)
