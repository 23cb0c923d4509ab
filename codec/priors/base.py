"""What every prior over codes is: groups of codes in a fixed order, each predicted from those before.

One incremental interface serves the sampler (predictions are logits) and the entropy coder (predictions are integer
frequencies): `groups` says the order, `start` takes what is known beforehand, `step` takes the codes of the group
before and predicts the next.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from codec.core.config import Config
from codec.core.errors import UserError
from codec.core.grid import Grid, GridLike

StateT = TypeVar("StateT")
PredictionT = TypeVar("PredictionT")


class Geometry(Config):
    """Which codes a prior models, and what it is given beside them.

    Attributes:
        ndim: axes of space, 1 (time) or 2 (height, width).
        level: the codes that are modelled.
        coarser: the levels above, coarse to fine, all of which are given.
        num_classes: class labels are given, 0 to `num_classes - 1`; None for none.
    """

    ndim: Literal[1, 2]
    level: Grid
    coarser: tuple[Grid, ...] = ()
    num_classes: PositiveInt | None = None

    @classmethod
    def of(cls, levels: Sequence[GridLike], index: int, *, ndim: int, num_classes: int | None = None) -> Geometry:
        """Of level `index` in a model's `levels`, given all levels above it."""
        grids = [Grid.of(level) for level in levels]
        return cls.model_validate(
            {"ndim": ndim, "level": grids[index], "coarser": grids[:index], "num_classes": num_classes}
        )

    def coarser_sizes(self, size: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Extents of the coarser levels above a level of extents `size`, rounded up."""
        fine = self.level.downsample_factor
        return [tuple(-(-n * fine // grid.downsample_factor) for n in size) for grid in self.coarser]


@dataclass(frozen=True)
class Condition:
    """What is known before the first code.

    Attributes:
        labels: classes `[b]`, int64; None if the prior has none.
        coarser: codes of the levels above, coarse to fine, `[b, q, *space]` each.
    """

    labels: Tensor | None = None
    coarser: tuple[Tensor, ...] = ()


class Prior(nn.Module, Generic[StateT, PredictionT]):
    """p(codes of one level | condition), group after group.

    What is laid down as a parameter or buffer is the prior: it is saved, loaded and covered by the fingerprint.

    Attributes:
        name, fingerprint: given on loading.
        model_fingerprint: of the model whose codes these are.
    """

    def __init__(self, config: Config, geometry: Geometry):
        super().__init__()
        self.config, self.geometry = config, geometry
        self.name, self.fingerprint, self.model_fingerprint = "unsaved", "0" * 16, "0" * 16

    @abstractmethod
    def groups(self, size: tuple[int, ...]) -> Iterator[Tensor]:
        """The order: for each step the codes it predicts, as flat indices `[n]` into `[q, *size]`, each code once."""

    @abstractmethod
    def start(self, size: tuple[int, ...], *, condition: Condition, batch: int) -> StateT:
        """The state before the first step, for `batch` signals of `size` codes per axis.

        Raises:
            UserError: the condition is not what `geometry` asks for.
        """

    @abstractmethod
    def step(self, state: StateT, codes: Tensor | None) -> tuple[PredictionT, StateT]:
        """The prediction for the next group, and the state after it; the state given is used up.

        Args:
            codes: those of the group before, `[b, n]` int64 in the order of `groups`; None at the first step.

        Returns:
            The prediction; of neural priors logits `[b, n, K]`.
        """

    def check_condition(self, condition: Condition, size: tuple[int, ...], batch: int) -> None:
        """Raises UserError unless labels and coarser codes are there, and of the right shape."""
        if len(size) != self.geometry.ndim:
            raise UserError(f"size {size} has {len(size)} axes; the prior models codes of {self.geometry.ndim}")
        wants_labels = self.geometry.num_classes is not None
        if wants_labels != (condition.labels is not None):
            wanted = "a class label for each item" if wants_labels else "no labels, it has no classes"
            raise UserError(f"the prior wants {wanted}")
        if condition.labels is not None and tuple(condition.labels.shape) != (batch,):
            raise UserError(f"labels have shape {tuple(condition.labels.shape)}; wanted {(batch,)}")
        got = [tuple(codes.shape) for codes in condition.coarser]
        sizes = self.geometry.coarser_sizes(size)
        shapes = [(batch, grid.num_codebooks, *s) for grid, s in zip(self.geometry.coarser, sizes, strict=True)]
        if got != shapes:
            raise UserError(f"coarser codes have shapes {got}; for {size} codes the prior wants {shapes}")


class NeuralPrior(Prior[StateT, Tensor]):
    """A prior that training reaches: beside the steps, all predictions at once from the true codes."""

    @abstractmethod
    def forward(self, codes: Tensor, condition: Condition) -> Tensor:
        """Logits `[b, K, q, *space]` of every code of `codes` `[b, q, *space]`, given those before it."""

    def nll(self, codes: Tensor, condition: Condition) -> Tensor:
        """Nats of each of `codes` `[b, q, *space]`, given those before it, in float32."""
        return F.cross_entropy(self(codes, condition).float(), codes, reduction="none")

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device


def raster_groups(num_codebooks: int, size: tuple[int, ...]) -> Iterator[Tensor]:
    """One code per group: positions in raster order, and at each position codebook after codebook."""
    flat = torch.arange(num_codebooks * torch.Size(size).numel()).view(num_codebooks, -1)
    yield from flat.T.reshape(-1, 1)
