"""A context prior in exact integer arithmetic, so that what one machine coded any other decodes.

`to_integer` (in `integer_export`) makes one from a trained `ContextPrior`, once; from then on it is a prior of its own.
Predictions are integer frequencies. It runs on the CPU, whatever else a machine has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import cast

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from codec.core.config import Config
from codec.core.errors import UserError
from codec.priors.base import Condition, Geometry, Prior
from codec.priors.context import ContextConfig
from codec.priors.context_order import ContextStep, context_steps
from codec.priors.integer_heads import HEADS, CategoricalPrediction, OrdinalPrediction
from codec.priors.integer_layers import IntegerEmbedding, IntegerNetwork

Prediction = OrdinalPrediction | CategoricalPrediction


class IntegerConfig(Config):
    """The integers of one context prior.

    Attributes:
        reach: of ordinal codes, for each level of the log-scale how far its tables go from the mean.
    """

    context: ContextConfig
    reach: tuple[PositiveInt, ...] = ()


@dataclass(frozen=True)
class Canvas:
    """Positions of a level with a margin around, flat: where a network finds the neighbours of a position."""

    size: tuple[int, ...]
    margin: int

    @cached_property
    def extents(self) -> tuple[int, ...]:
        """Of all, margin included."""
        return tuple(extent + 2 * self.margin for extent in self.size)

    def places(self, positions: Tensor) -> Tensor:
        """Where flat `positions` `[m]` of the level are: `[m]`."""
        along = torch.unravel_index(positions, self.size)
        return self._flat([axis + self.margin for axis in along])

    def neighbours(self, positions: Tensor, kernel: int) -> Tensor:
        """The places a `kernel` around each of `positions` covers, in raster order: `[kernel**ndim, m]`."""
        reach = range(-(kernel // 2), kernel // 2 + 1)
        offsets = torch.tensor(list(product(reach, repeat=len(self.size))))
        return self.places(positions) + self._flat(list(offsets.T))[:, None]

    def _flat(self, along: list[Tensor]) -> Tensor:
        place = torch.zeros_like(along[0])
        for axis, extent in zip(along, self.extents, strict=True):
            place = place * extent + axis
        return place


@dataclass
class IntegerState:
    """Where coding stands: steps to come, and the planes `[b, planes, places]` of what is known, 0 elsewhere."""

    steps: list[ContextStep]
    canvas: Canvas
    known: Tensor
    above: Tensor
    rate: int
    done: int = 0


class IntegerPrior(Prior[IntegerState, Prediction]):
    """See the module; the codes of fewer codebooks than the level has are those of the first ones."""

    def __init__(self, config: IntegerConfig, geometry: Geometry):
        super().__init__(config, geometry)
        self.context = config.context
        self.context.check(geometry)
        width = self.context.embedding_dim
        self.head = HEADS[self.context.head](geometry.level, width, config.reach)
        self.above = nn.ModuleList(IntegerEmbedding(grid, width) for grid in geometry.coarser)
        from_above = width * sum(grid.num_codebooks for grid in geometry.coarser)
        bound = max(self.head.bound, IntegerEmbedding.bound if geometry.coarser else 0)
        self.networks = nn.ModuleList()
        stop = 0
        for group in self.context.groups:
            stop += group.codebooks
            for _ in range(group.phases):
                self.networks.append(
                    IntegerNetwork(
                        (stop * self.head.num_planes + from_above) * group.kernel**geometry.ndim,
                        group.codebooks * self.head.num_outputs,
                        group.hidden,
                        num_rates=self.context.num_rates,
                        bound=bound,
                    )
                )

    def groups(self, size: tuple[int, ...], *, num_active: int | None = None) -> Iterator[Tensor]:
        """The order; of the first `num_active` codebooks only, if that is given."""
        active = num_active or self.geometry.level.num_codebooks
        count = torch.Size(size).numel()
        return (step.flat_codes(count) for step in context_steps(self.context.groups, size, active))

    @torch.inference_mode()
    def start(
        self, size: tuple[int, ...], *, condition: Condition, batch: int, num_active: int | None = None
    ) -> IntegerState:
        active = num_active or self.geometry.level.num_codebooks
        canvas = Canvas(size, max(group.kernel for group in self.context.groups) // 2)
        places = torch.Size(canvas.extents).numel()
        planes = self.geometry.level.num_codebooks * self.head.num_planes
        known = torch.zeros(batch, planes, places, dtype=torch.float64)
        above = self._planes_above(condition, canvas, batch)
        steps = context_steps(self.context.groups, size, active)
        return IntegerState(steps, canvas, known, above, self.context.rate_of(active))

    @torch.inference_mode()
    def step(self, state: IntegerState, codes: Tensor | None) -> tuple[Prediction, IntegerState]:
        if codes is not None:
            self._learn(state, codes)
        step = state.steps[state.done]
        around = state.canvas.neighbours(step.positions, step.kernel)
        known = state.known[:, : (step.first + step.width) * self.head.num_planes]
        seen = torch.cat((known[:, :, around], state.above[:, :, around]), 1).flatten(1, 2)
        with torch.autocast("cpu", enabled=False):
            outputs = self.networks[step.network](seen, state.rate)
        outputs = outputs.unflatten(1, (self.head.num_outputs, step.width))[:, :, : step.stop - step.first]
        state.done += 1
        return self.head.predict(outputs.long().numpy()), state

    def _learn(self, state: IntegerState, codes: Tensor) -> None:
        """Enter the codes `[b, n]` of the step before into what is known."""
        step, each = state.steps[state.done - 1], self.head.num_planes
        planes = self.head.planes(codes.unflatten(1, (step.stop - step.first, -1)), step.first)
        state.known[:, step.first * each : step.stop * each, state.canvas.places(step.positions)] = planes

    def _planes_above(self, condition: Condition, canvas: Canvas, batch: int) -> Tensor:
        """Planes `[b, planes, places]` of the coarser codes, each repeated over the positions that it covers."""
        if len(condition.coarser) != len(self.geometry.coarser):
            raise UserError(f"{len(condition.coarser)} coarser levels of codes; wanted {len(self.geometry.coarser)}")
        margins = [canvas.margin] * 2 * len(canvas.size)
        above = [torch.zeros(batch, 0, torch.Size(canvas.extents).numel(), dtype=torch.float64)]
        for codes, grid, embedding in zip(condition.coarser, self.geometry.coarser, self.above, strict=True):
            for axis, extent in enumerate(canvas.size, start=2):
                ratio = grid.downsample_factor // self.geometry.level.downsample_factor
                codes = codes.repeat_interleave(ratio, axis).narrow(axis, 0, extent)
            planes = cast(IntegerEmbedding, embedding)(codes.flatten(2))
            missing = (grid.num_codebooks - codes.shape[1]) * self.context.embedding_dim
            padded = nn.functional.pad(planes.unflatten(2, canvas.size), [*margins, 0, missing])
            above.append(padded.flatten(2))
        return torch.cat(above, 1)
