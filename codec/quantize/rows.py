"""Quantizers that treat every position by itself: what they share around the lookup of one row."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn

from codec.core.config import Config
from codec.core.precision import float32_island
from codec.core.types import Quantized
from codec.quantize.base import (
    Quantizer,
    check_codes,
    check_latents,
    check_num_active,
    is_recomputing,
    raise_unless_finite,
)
from codec.quantize.counting import CodeTally
from codec.quantize.estimators import straight_through
from codec.quantize.layout import project, to_rows
from codec.quantize.stats import BatchSums, joint_sums, merged_sums


class RowConfig(Config):
    """What every one-codebook quantizer can be told.

    Attributes:
        decay: gamma of the moving averages: of counts, and of entries that follow their vectors.
    """

    settings = frozenset({"decay"})
    decay: float = Field(default=0.99, ge=0.0, lt=1.0)


@dataclass(frozen=True)
class Assignment:
    """Rows and the codes they were given; N rows of D channels, all float32.

    Attributes:
        inputs: `[N, D]` looked up, differentiable; finite, but of no meaning, where padding.
        anchors: `[N, D]` equal in value; gradients of the quantizer's own losses go here.
        valid: `[N]` bool, the real rows; None if all are.
        codes: `[N]`.
        vectors: `[N, D]` what the codes stand for, differentiable where the codebook learns by gradient.
        difference: `[N, D]` inputs - vectors, detached; zero where padding.
        error: 0-d, the sum of difference^2.
        sums: figures of the batch.
        joint: whether `sums` are over all ranks, as they are when training.
    """

    inputs: Tensor
    anchors: Tensor
    valid: Tensor | None
    codes: Tensor
    vectors: Tensor
    difference: Tensor
    error: Tensor
    sums: BatchSums
    joint: bool


@dataclass(frozen=True)
class Found:
    """A lookup from which nothing has been learnt yet: `latents` `[b, d, *space]`, `codes` `[b, 1, *space]`, losses."""

    latents: Tensor
    codes: Tensor
    losses: dict[str, Tensor]
    assignment: Assignment


class RowQuantizer(Quantizer):
    """One code per position, found from that position's channels alone.

    `forward` is three steps, which a composition may take one by one: `look_up` changes nothing but an empty codebook,
    `learn` moves the state once by one lookup or several, `figures` describes them. Latents wider or narrower than the
    codebook are projected to it and back by learned maps (Yu et al. 2022, "factorised codes").

    During the recomputation of an activation checkpoint (a forward inside a backward pass) nothing is learnt.

    State: `ema_counts` `[C]`, float32 whatever the module's dtype (see `counting`: C is K unless K is very large).
    """

    float32_buffers: tuple[str, ...] = ("ema_counts",)
    pulls_needed = False

    def __init__(self, config: RowConfig, dim: int, *, width: int, radices: tuple[int, ...]) -> None:
        super().__init__(dim)
        self.width = width
        self.decay = config.decay
        self.counter = CodeTally(radices)
        projects = width != dim
        self.project_in = nn.Linear(dim, width) if projects else None
        self.project_out = nn.Linear(width, dim) if projects else None
        self.ema_counts: Tensor
        self.register_buffer("ema_counts", torch.zeros(self.counter.num_counters, dtype=torch.float32))

    @property
    def loss_names(self) -> tuple[str, ...]:
        return ()

    @property
    def num_codebooks(self) -> int:
        return 1

    @property
    def codebook_size(self) -> int:
        return self.counter.size

    @abstractmethod
    def _find(self, rows: Tensor) -> Tensor:
        """Codes `[N]` of float32 `rows` `[N, D]`."""

    @abstractmethod
    def _vectors(self, codes: Tensor) -> Tensor:
        """Float32 `[..., D]` that `codes` `[...]` stand for."""

    def forward(self, latents: Tensor, *, mask: Tensor | None = None, num_active: int | None = None) -> Quantized:
        check_num_active(num_active, 1)
        found = self.look_up(latents, latents, mask=mask)
        restarts = self.learn([found])
        return Quantized(found.latents, found.codes, found.losses, self.figures(found, restarts))

    def look_up(self, latents: Tensor, anchor: Tensor, *, mask: Tensor | None) -> Found:
        """Codes, outputs and losses of `latents` `[b, d, *space]`; the state stays as it is but for its first filling.

        Args:
            anchor: equal to `latents` in value; gradients of the quantizer's own losses go here.
        """
        check_latents(latents, self.dim, mask)
        valid = None if mask is None else mask.reshape(-1)
        with float32_island(latents.device.type):
            inputs = self._to_rows(latents, valid)
            anchors = inputs if anchor is latents else self._to_rows(anchor, valid)
            if self.training and not is_recomputing():
                self._initialise(inputs.detach(), valid)
            assignment = self._assign(inputs, anchors, valid)
            outputs, losses = self._emit(assignment)
            outputs = project(self.project_out, outputs)
        codes = assignment.codes
        if valid is not None:
            outputs = torch.where(valid[:, None], outputs, 0)
            codes = codes.masked_fill(~valid, -1)
        shape = (latents.shape[0], *latents.shape[2:])
        outputs = outputs.to(latents.dtype).view(*shape, self.dim).movedim(-1, 1)
        return Found(outputs, codes.view(shape)[:, None], losses, assignment)

    @torch.no_grad()
    def learn(self, founds: Sequence[Found]) -> Tensor:
        """Move the state by lookups of one step, when training; how many codes restarted (0-d).

        Raises:
            NonFiniteError: a real position holds NaN or infinity; nothing has moved.
        """
        sums = merged_sums([found.assignment.sums for found in founds])
        finite = torch.isfinite(sums.squared_error)
        if not self.training or is_recomputing():
            raise_unless_finite(finite)
            return torch.zeros_like(sums.total)
        gate = finite & (sums.total > 0)
        faded = torch.lerp(sums.counts, self.ema_counts, self.decay)
        return self._update(
            [found.assignment for found in founds], sums, torch.where(gate, faded, self.ema_counts), gate
        )

    @torch.no_grad()
    def figures(self, found: Found, restarts: Tensor) -> dict[str, Tensor]:
        """Figures of a lookup and, as `running_*`, of the moving averages."""
        sums = found.assignment.sums
        return {
            "usage": self.counter.usage(sums.counts),
            "perplexity": self.counter.perplexity(sums.counts),
            "distortion": sums.squared_error / sums.total.clamp_min(1) / self.width,
            "restarts": restarts,
            "running_usage": self.counter.running_usage(self.ema_counts, self.decay),
            "running_perplexity": self.counter.perplexity(self.ema_counts),
        }

    @torch.no_grad()
    def encode(self, latents: Tensor, *, num_active: int | None = None) -> Tensor:
        check_num_active(num_active, 1)
        check_latents(latents, self.dim)
        with float32_island(latents.device.type):
            rows = self._to_rows(latents)
            raise_unless_finite(torch.isfinite(rows.sum()))
            return self._find(rows).view(latents.shape[0], 1, *latents.shape[2:])

    @torch.no_grad()
    def reduce(self, residual: Tensor) -> tuple[Tensor, Tensor]:
        """As a stage: the codes `[b, 1, *space]` of finite float32 `residual` `[b, d, *space]`, and what they leave."""
        shape = (residual.shape[0], *residual.shape[2:])
        codes, vectors = self._find_vectors(self._to_rows(residual))
        outputs = project(self.project_out, vectors).view(*shape, self.dim).movedim(-1, 1)
        return codes.view(shape)[:, None], residual - outputs

    def dequantize(self, codes: Tensor) -> Tensor:
        check_codes(codes, 1, self.codebook_size)
        index = codes[:, 0].long()
        with float32_island(codes.device.type):
            outputs = project(self.project_out, self._vectors(index.clamp_min(0)))
            outputs = torch.where((index >= 0)[..., None], outputs, 0)
        return outputs.movedim(-1, 1)

    def code_counts(self) -> Tensor:
        return self.counter.histogram(self.ema_counts)[None]

    def _to_rows(self, latents: Tensor, valid: Tensor | None = None) -> Tensor:
        return self._condition(project(self.project_in, to_rows(latents, valid)))

    def _find_vectors(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Codes `[N]` of `rows` `[N, D]`, and the vectors `[N, D]` they stand for, differentiable where they learn."""
        codes = self._find(rows)
        return codes, self._vectors(codes)

    def _condition(self, rows: Tensor) -> Tensor:
        """What happens to projected `rows` `[N, D]` before the lookup; NaN and infinity must not become finite."""
        return rows

    def _initialise(self, rows: Tensor, valid: Tensor | None) -> None:
        """Fill the codebook from the first batch, if it wants to be."""

    def _emit(self, assignment: Assignment) -> tuple[Tensor, dict[str, Tensor]]:
        """`[N, D]` to hand on, with the gradient that is to flow; and losses by name, in the order of `loss_names`."""
        return straight_through(assignment.inputs, assignment.vectors), {}

    def _update(self, assignments: Sequence[Assignment], sums: BatchSums, counts: Tensor, gate: Tensor) -> Tensor:
        """Move the state where `gate` (0-d bool) says so, running counts to `counts` `[C]`; codes restarted (0-d).

        Where values cannot be looked at (fake tensors, compiled graphs) nothing raises: the gate is closed instead.
        """
        raise_unless_finite(torch.isfinite(sums.squared_error))
        self.ema_counts.copy_(counts)
        return torch.zeros_like(sums.total)

    def _assign(self, inputs: Tensor, anchors: Tensor, valid: Tensor | None) -> Assignment:
        rows = inputs.detach()
        codes, vectors = self._find_vectors(rows)
        with torch.no_grad():
            difference = rows - vectors
            if valid is not None:
                difference = torch.where(valid[:, None], difference, 0)
            error = torch.linalg.vector_norm(difference).square()
            total = error.new_full((), len(rows)) if valid is None else valid.sum().to(error.dtype)
            pulls = None
            if self.pulls_needed and self.training and not is_recomputing():
                pulls = rows.new_zeros(self.codebook_size, self.width).index_add_(0, codes, difference)
            sums = BatchSums(total, self.counter.count(codes, valid), error, pulls)
            if self.training:
                sums = joint_sums(sums)
        return Assignment(inputs, anchors, valid, codes, vectors, difference, error, sums, self.training)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> RowQuantizer:
        """Move to a device or dtype, except that float32 statistics stay float32, bit for bit."""
        exact = {name: self._buffers[name] for name in self.float32_buffers}
        super()._apply(fn, recurse)
        for name, before in exact.items():
            after = self._buffers[name]
            if before is not None and after is not None and after.dtype != torch.float32:
                self._buffers[name] = before.to(after.device)
        return self
