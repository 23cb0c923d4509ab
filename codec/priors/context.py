"""A prior for coding: few steps, each a small network that predicts many codes at once from all those known before.

Codes are taken in the order of `context_order`. Since the codes of a step are predicted independently of each other, a
whole picture takes about a dozen steps, and what a step sees is a few convolutions away: that is cheap enough to run
in exact integer arithmetic (`integer`), which entropy coding needs. The order of codebooks is that of channel-wise
models (Minnen and Singh 2020), with the chessboard of He et al. 2021 inside each group.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, cast

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt, field_validator
from torch import Tensor, nn

from codec.core.config import Config
from codec.core.errors import UserError
from codec.nn import Conv
from codec.priors.base import Condition, Geometry, NeuralPrior
from codec.priors.context_heads import HEADS, embedded_planes
from codec.priors.context_order import ContextGroup, ContextStep, context_steps, phase_masks
from codec.priors.embedding import CodeEmbedding

MIN_START_SCALE = 0.1
"""Least scale that a value is expected to have at the start, in rounding steps: rare surprises stay affordable."""


class ContextConfig(Config):
    """A prior of context networks.

    Attributes:
        head: `ordinal` where codes are digits of a scale (finite-scalar quantization), else `categorical`.
        groups: all codebooks, in order.
        rates: numbers of active codebooks that have biases of their own, ascending; codes of a number in between use
            the next higher. None: one rate for all.
        embedding_dim: planes in which a network sees a code that is not a digit.
    """

    kind: Literal["context"] = "context"
    head: Literal["ordinal", "categorical"] = "categorical"
    groups: tuple[ContextGroup, ...] = Field(min_length=1)
    rates: tuple[PositiveInt, ...] | None = Field(default=None, min_length=1)
    embedding_dim: PositiveInt = 4

    @field_validator("rates")
    @classmethod
    def _ascend(cls, rates: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if rates and any(low >= high for low, high in pairwise(rates)):
            raise ValueError(f"rates are {list(rates)}: wanted ascending numbers of codebooks")
        return rates

    @property
    def num_rates(self) -> int:
        """Sets of biases."""
        return len(self.rates or (0,))

    def rate_of(self, num_active: int) -> int:
        """Which biases are for codes of the first `num_active` codebooks."""
        return min(bisect_left(self.rates or (0,), num_active), self.num_rates - 1)

    def check(self, geometry: Geometry) -> None:
        """Raises UserError unless the groups are of `geometry`'s codebooks, and nothing is given but coarser codes."""
        total = sum(group.codebooks for group in self.groups)
        if total != geometry.level.num_codebooks:
            raise UserError(f"the groups hold {total} codebooks; the level has {geometry.level.num_codebooks}")
        if geometry.num_classes is not None:
            raise UserError("a prior of kind 'context' knows no classes: leave num_classes out")
        for grid in geometry.coarser:
            if grid.downsample_factor % geometry.level.downsample_factor:
                raise UserError(
                    f"a coarser level has factor {grid.downsample_factor}: wanted a multiple of "
                    f"{geometry.level.downsample_factor}"
                )


class StepNetwork(nn.Module):
    """A linear convolution, plus a convolution followed by two layers position by position; biases for every rate."""

    def __init__(self, planes: int, outputs: int, hidden: int, kernel: int, *, ndim: int, num_rates: int):
        super().__init__()
        self.linear = Conv(planes, outputs, kernel, ndim=ndim)
        self.first = Conv(planes, hidden, kernel, ndim=ndim)
        self.second = Conv(hidden, hidden, 1, ndim=ndim)
        self.third = Conv(hidden, outputs, 1, ndim=ndim)
        self.hidden_rate = nn.Embedding(num_rates, hidden)
        self.output_rate = nn.Embedding(num_rates, outputs)
        for parameter in (self.linear.weight, self.third.weight, self.output_rate.weight):
            nn.init.zeros_(parameter)
        nn.init.normal_(self.hidden_rate.weight, std=0.1)

    def forward(self, planes: Tensor, rates: Tensor) -> Tensor:
        """Outputs `[b, outputs, *space]` from `planes` `[b, planes, *space]` at `rates` `[b]`."""
        per_channel = (*self.output_rate(rates).shape, *[1] * (planes.dim() - 2))
        seen = self.first(planes)
        hidden = F.relu(seen + self.hidden_rate(rates).to(seen.dtype).view(len(rates), -1, *per_channel[2:]))
        outputs = self.linear(planes) + self.third(F.relu(self.second(hidden)))
        return outputs.float() + self.output_rate(rates).view(per_channel)


@dataclass
class ContextState:
    """Where coding stands: steps to come, and the planes `[b, planes, *size]` of what is known, 0 elsewhere."""

    steps: list[ContextStep]
    known: Tensor
    above: Tensor
    rate: int
    done: int = 0


class ContextPrior(NeuralPrior[ContextState]):
    """See the module; the codes of fewer codebooks than the level has are those of the first ones."""

    def __init__(self, config: ContextConfig, geometry: Geometry):
        super().__init__(config, geometry)
        config.check(geometry)
        self.context, level, width = config, geometry.level, config.embedding_dim
        self.head = HEADS[config.head](level, width)
        self.above = nn.ModuleList(CodeEmbedding(grid, width) for grid in geometry.coarser)
        from_above = width * sum(grid.num_codebooks for grid in geometry.coarser)
        self.networks = nn.ModuleList()
        stop = 0
        for group in config.groups:
            stop += group.codebooks
            for _ in range(group.phases):
                self.networks.append(
                    StepNetwork(
                        stop * self.head.num_planes + from_above,
                        group.codebooks * self.head.num_outputs,
                        group.hidden,
                        group.kernel,
                        ndim=geometry.ndim,
                        num_rates=config.num_rates,
                    )
                )

    def groups(self, size: tuple[int, ...], *, num_active: int | None = None) -> Iterator[Tensor]:
        """The order; of the first `num_active` codebooks only, if that is given."""
        active = num_active or self.geometry.level.num_codebooks
        count = torch.Size(size).numel()
        return (step.flat_codes(count) for step in context_steps(self.context.groups, size, active))

    def forward(self, codes: Tensor, condition: Condition) -> Tensor:
        return self.head.logits(self._outputs(codes, condition))

    def nll(self, codes: Tensor, condition: Condition) -> Tensor:
        return self.head.nll(self._outputs(codes, condition), codes)

    def predict(self, planes: Tensor, rates: Tensor, above: Tensor | None = None) -> Tensor:
        """What the head wants of every code: `[b, num_outputs, q, *space]`, float32.

        Args:
            planes: what is seen of the true codes of the first q codebooks, `[b, q * num_planes, *space]`; gradients
                pass.
            rates: index into the config's rates, `[b]`.
            above: planes of the coarser codes, `[b, planes, *space]`; None for none.
        """
        each = self.head.num_planes
        above = planes[:, :0] if above is None else above
        networks, first, outputs = iter(self.networks), 0, []
        num_active = planes.shape[1] // each
        planes = self._all_codebooks(planes)
        for group in self.context.groups:
            stop, predicted = first + group.codebooks, 0.0
            known = torch.zeros(planes.shape[2:], dtype=torch.bool, device=planes.device)
            for phase in phase_masks(tuple(planes.shape[2:]), group.phases):
                mask, network = phase.to(planes.device), next(networks)
                if first >= num_active:
                    continue
                seen = (planes[:, : first * each], planes[:, first * each : stop * each] * known, above)
                predicted = predicted + network(torch.cat(seen, 1), rates) * mask
                known = known | mask
            if isinstance(predicted, Tensor):
                outputs.append(predicted.unflatten(1, (self.head.num_outputs, group.codebooks)))
            first = stop
        return torch.cat(outputs, 2)[:, :, :num_active]

    def start(
        self, size: tuple[int, ...], *, condition: Condition, batch: int, num_active: int | None = None
    ) -> ContextState:
        self.check_condition(condition, size, batch)
        active = num_active or self.geometry.level.num_codebooks
        planes = self.geometry.level.num_codebooks * self.head.num_planes
        known = torch.zeros(batch, planes, *size, device=self.device)
        steps = context_steps(self.context.groups, size, active)
        return ContextState(steps, known, self.planes_above(condition, known), self.context.rate_of(active))

    def step(self, state: ContextState, codes: Tensor | None) -> tuple[Tensor, ContextState]:
        each = self.head.num_planes
        if codes is not None:
            self._learn(state, codes)
        step = state.steps[state.done]
        seen = torch.cat((state.known[:, : (step.first + step.width) * each], state.above), 1)
        rates = torch.full(state.known.shape[:1], state.rate, device=state.known.device)
        outputs = self.networks[step.network](seen, rates)
        outputs = outputs.unflatten(1, (self.head.num_outputs, step.width))[:, :, : step.stop - step.first]
        logits = self.head.logits(outputs.flatten(3)[..., step.positions.to(outputs.device)])
        state.done += 1
        return logits.flatten(2).movedim(1, -1), state

    @torch.no_grad()
    def start_at(self, deviations: Tensor) -> None:
        """Expect values of standard `deviations` `[rates, q]`, before anything is learnt; ordinal codes only."""
        log_scales = (deviations * (math.sqrt(3) / math.pi)).clamp_min(MIN_START_SCALE).log()
        networks, first = iter(self.networks), 0
        for group in self.context.groups:
            stop = first + group.codebooks
            for _ in range(group.phases):
                cast(StepNetwork, next(networks)).output_rate.weight[:, group.codebooks :] = log_scales[:, first:stop]
            first = stop

    def planes_above(self, condition: Condition, like: Tensor) -> Tensor:
        """Planes `[b, planes, *space]` of the coarser codes, each repeated over the positions of `like`."""
        above = [like[:, :0]]
        for codes, grid, embedding in zip(condition.coarser, self.geometry.coarser, self.above, strict=True):
            planes = embedded_planes(cast(CodeEmbedding, embedding), codes)
            for axis in range(2, like.dim()):
                ratio = grid.downsample_factor // self.geometry.level.downsample_factor
                planes = planes.repeat_interleave(ratio, axis).narrow(axis, 0, like.shape[axis])
            above.append(planes)
        return torch.cat(above, 1)

    def _outputs(self, codes: Tensor, condition: Condition) -> Tensor:
        planes = self.head.planes(codes)
        rates = torch.full((len(codes),), self.context.rate_of(codes.shape[1]), device=codes.device)
        return self.predict(planes, rates, self.planes_above(condition, planes))

    def _learn(self, state: ContextState, codes: Tensor) -> None:
        """Enter the codes `[b, n]` of the step before into what is known."""
        step = state.steps[state.done - 1]
        size, count = state.known.shape[2:], state.known[0, 0].numel()
        level = torch.zeros(
            len(codes), self.geometry.level.num_codebooks * count, dtype=torch.int64, device=codes.device
        )
        level[:, step.flat_codes(count).to(codes.device)] = codes
        planes = self.head.planes(level.view(len(codes), -1, *size)).flatten(2)
        rows = slice(step.first * self.head.num_planes, step.stop * self.head.num_planes)
        state.known.flatten(2)[:, rows, step.positions] = planes[:, rows, step.positions]

    def _all_codebooks(self, planes: Tensor) -> Tensor:
        missing = self.geometry.level.num_codebooks * self.head.num_planes - planes.shape[1]
        return F.pad(planes, [0, 0] * (planes.dim() - 2) + [0, missing])
