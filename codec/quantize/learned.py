"""A stored codebook that is found in the first batch and whose dead codes start again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from codec.quantize.base import can_branch, is_recomputing, raise_unless_finite
from codec.quantize.codebook import CodebookConfig, CodebookQuantizer
from codec.quantize.estimators import straight_through
from codec.quantize.initialise import initialise
from codec.quantize.restart import CodebookState, Threshold, dead_codes, restart
from codec.quantize.rows import Assignment, Found
from codec.quantize.snapshot import snapshot
from codec.quantize.stats import BatchSums, merged_sums


class LearnedCodebookConfig(CodebookConfig):
    """A stored codebook.

    Attributes:
        init: `kmeans` finds the first codebook in the first training batch; `normal` draws it at random.
        restart_below: a code is dead when its running count is under this fraction of uniform usage; 0 never.
        restart_cooldown: training steps during which a restarted code may not restart again.
        restart_limit: codes restarted per step at most.
    """

    settings = CodebookConfig.settings | frozenset({"init", "restart_below", "restart_cooldown", "restart_limit"})
    init: Literal["kmeans", "normal"] = "kmeans"
    restart_below: float = Field(default=0.1, ge=0.0, lt=1.0)
    restart_cooldown: int = Field(default=100, ge=0)
    restart_limit: int = Field(default=32, ge=1)


class LearnedCodebook(CodebookQuantizer):
    """A codebook of its own, initialised from data and kept alive; subclasses say how entries move.

    State: `codebook` `[K, D]`, `cooldown` `[K]` (steps until a code may restart).
    """

    codebook: Tensor
    cooldown: Tensor

    def __init__(self, config: LearnedCodebookConfig, dim: int) -> None:
        super().__init__(config, dim)
        self.init = config.init
        self.threshold = Threshold(config.restart_below, config.restart_cooldown, config.restart_limit)
        self.register_buffer("cooldown", torch.zeros(config.codebook_size, dtype=torch.int64))
        self._last: _Forward | None = None
        self.register_load_state_dict_post_hook(_forget)

    def _table(self) -> Tensor:
        table = snapshot(self.codebook).float() if self.training else self.codebook.float()
        if self.training and self._last is not None and is_recomputing():
            return straight_through(table, self._last.table)
        return table

    @torch.no_grad()
    def learn(self, founds: Sequence[Found]) -> Tensor:
        if self.training and self._last is not None and is_recomputing():
            self._last.check(merged_sums([found.assignment.sums for found in founds]))
        return super().learn(founds)

    def _move(self, sums: BatchSums, gate: Tensor) -> None:
        """Move the entries by a batch where `gate` (0-d bool) says so."""

    def _fill(self, rows: Tensor, valid: Tensor | None) -> None:
        initialise(rows, valid, self.codebook.detach(), self.ema_counts, self.initialised, self.init)

    def _update(self, assignments: Sequence[Assignment], sums: BatchSums, counts: Tensor, gate: Tensor) -> Tensor:
        """One look at values per step, to raise and to see whether a code is dead."""
        cooldown = (self.cooldown - gate.long()).clamp_min(0)
        dead = dead_codes(counts, cooldown, self.threshold.below) & gate
        restarts = self.threshold.below > 0
        if can_branch(dead):
            finite, any_dead = torch.stack((torch.isfinite(sums.squared_error), dead.any())).cpu()
            raise_unless_finite(finite)
            restarts = restarts and bool(any_dead)
            self._last = _Forward(self.codebook.detach().float().clone(), sums.squared_error)
        self.ema_counts.copy_(counts)
        self.cooldown.copy_(cooldown)
        self._move(sums, gate)
        if not restarts:
            return torch.zeros_like(sums.total)
        rows = torch.stack([assignment.inputs.detach() for assignment in assignments], 1).flatten(0, 1)
        valid = None
        if any(assignment.valid is not None for assignment in assignments):
            everywhere = torch.ones_like(assignments[0].codes, dtype=torch.bool)
            masks = [everywhere if assignment.valid is None else assignment.valid for assignment in assignments]
            valid = torch.stack(masks, 1).flatten()
        state = CodebookState(self.codebook.detach(), self.ema_counts, self.cooldown)
        return restart(state, rows, valid, entries=self.entries(), dead=dead, threshold=self.threshold)


@dataclass(frozen=True)
class _Forward:
    """The last training forward, which an activation checkpoint may compute again, and its `table` `[K, D]`."""

    table: Tensor
    squared_error: Tensor

    def check(self, again: BatchSums) -> None:
        """RuntimeError if the recomputation is of another forward than the last, whose table is gone."""
        if not torch.allclose(again.squared_error, self.squared_error, rtol=0.01):  # kernels may round anew
            raise RuntimeError(
                "an activation checkpoint recomputes a quantizer that has learnt from another batch since: "
                "run backward before the next training forward, or leave the quantizer out of the checkpoint"
            )


def _forget(module: nn.Module, _: object) -> None:
    assert isinstance(module, LearnedCodebook)
    module._last = None
