"""What quantizers with one explicit codebook share: layout, projection, initialisation, counts, restart."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from codec.core import dist
from codec.core.config import Config
from codec.core.precision import float32_island
from codec.core.types import Quantized
from codec.quantize import stats
from codec.quantize.base import (
    NonFiniteError,
    Quantizer,
    can_branch,
    check_codes,
    check_latents,
    check_num_active,
)
from codec.quantize.kmeans import Clusters, cluster
from codec.quantize.layout import project, to_rows
from codec.quantize.lookup import nearest
from codec.quantize.restart import dead_codes, replacements
from codec.quantize.stats import BatchSums, batch_sums
from codec.quantize.straight_through import straight_through


class CodebookConfig(Config):
    """One codebook.

    Attributes:
        codebook_size: entries, K.
        codebook_dim: width D of the entries; if smaller than the latents' they are projected down to look up and up
            again afterwards (factorised codes, Yu et al. 2022). None: as wide as the latents, no projection.
        decay: gamma of the moving averages.
        init: `kmeans` finds the first codebook in the first training batch; `normal` draws it at random.
        restart_below: a code is dead when its running count is under this fraction of uniform usage; 0 never.
        restart_cooldown: training steps during which a restarted code may not restart again.
        restart_limit: codes restarted per step at most.
    """

    codebook_size: int = Field(default=512, ge=2)
    codebook_dim: int | None = Field(default=None, ge=1)
    decay: float = Field(default=0.99, ge=0.0, lt=1.0)
    init: Literal["kmeans", "normal"] = "kmeans"
    restart_below: float = Field(default=0.1, ge=0.0, lt=1.0)
    restart_cooldown: int = Field(default=100, ge=0)
    restart_limit: int = Field(default=32, ge=1)


class CodebookQuantizer(Quantizer):
    """Nearest entry of one codebook, straight through; subclasses say how the codebook learns.

    The commitment loss is the mean over real positions and over channels of (z_e - sg(z_q))^2, in the codebook's space,
    on the encoder's side (van den Oord et al. 2017, equation 3, last term). Its denominator is the mean number of real
    positions per rank, so that gradients averaged over ranks are those of the joined batch.

    State besides the codebook, all float32 or integer whatever the module's dtype: `ema_counts` `[K]`, `cooldown`
    `[K]` (steps until a code may restart), `initialised` (0-d).
    """

    codebook: Tensor
    ema_counts: Tensor
    cooldown: Tensor
    initialised: Tensor
    float32_buffers: tuple[str, ...] = ("ema_counts",)
    pulls_needed = False

    def __init__(self, config: CodebookConfig, dim: int) -> None:
        super().__init__(dim)
        self.config = config
        self.width = config.codebook_dim or dim
        projects = self.width != dim
        self.project_in = nn.Linear(dim, self.width) if projects else None
        self.project_out = nn.Linear(self.width, dim) if projects else None
        size = config.codebook_size
        self.register_buffer("ema_counts", torch.zeros(size, dtype=torch.float32))
        self.register_buffer("cooldown", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("initialised", torch.tensor(False))
        self._known_initialised = False  # so that the flag is read once, not at every step
        self.register_load_state_dict_post_hook(_forget_initialised)

    @property
    def loss_names(self) -> tuple[str, ...]:
        return ("commitment",)

    @property
    def num_codebooks(self) -> int:
        return 1

    @property
    def codebook_size(self) -> int:
        return self.config.codebook_size

    def forward(self, latents: Tensor, *, mask: Tensor | None = None, num_active: int | None = None) -> Quantized:
        check_num_active(num_active, 1)
        return self.quantize(latents, latents, mask=mask)

    def quantize(self, latents: Tensor, anchor: Tensor, *, mask: Tensor | None) -> Quantized:
        check_latents(latents, self.dim, mask)
        valid = None if mask is None else mask.reshape(-1)
        with float32_island(latents.device.type):
            inputs = project(self.project_in, to_rows(latents, valid))
            anchors = inputs if anchor is latents else project(self.project_in, to_rows(anchor, valid))
            rows = inputs.detach()
            if self.training and not self._known_initialised:
                self._initialise(rows, valid)
            codes = nearest(rows, self.codebook)
            vectors = F.embedding(codes, self.codebook).float()
            sums = batch_sums(
                rows,
                codes,
                vectors.detach(),
                valid,
                size=self.codebook_size,
                with_pulls=self.pulls_needed and self.training,
                joint=self.training,
            )
            restarts = self._learn(rows, valid, sums)
            losses = self._losses(anchors, vectors, valid, sums)
            outputs = project(self.project_out, straight_through(inputs, vectors))
            figures = self._stats(sums, restarts)
        if valid is not None:
            outputs = torch.where(valid[:, None], outputs, 0)
            codes = codes.masked_fill(~valid, -1)
        shape = (latents.shape[0], *latents.shape[2:])
        outputs = outputs.to(latents.dtype).view(*shape, self.dim).movedim(-1, 1)
        return Quantized(outputs, codes.view(shape)[:, None], losses, figures)

    @torch.no_grad()
    def encode(self, latents: Tensor, *, num_active: int | None = None) -> Tensor:
        check_num_active(num_active, 1)
        check_latents(latents, self.dim)
        with float32_island(latents.device.type):
            rows = project(self.project_in, to_rows(latents, None))
            if can_branch(rows) and not bool(torch.isfinite(rows).all()):
                raise NonFiniteError("latents to encode hold NaN or infinity: check the input signal and the weights")
            codes = nearest(rows, self.codebook)
        return codes.view(latents.shape[0], 1, *latents.shape[2:])

    def dequantize(self, codes: Tensor) -> Tensor:
        check_codes(codes, 1, self.codebook_size)
        index = codes[:, 0]
        with float32_island(codes.device.type):
            vectors = F.embedding(index.clamp_min(0), self.codebook).float()
            outputs = torch.where((index >= 0)[..., None], project(self.project_out, vectors), 0)
        return outputs.movedim(-1, 1)

    def code_counts(self) -> Tensor:
        return stats.integer_counts(self.ema_counts)[None]

    @abstractmethod
    def _move(self, sums: BatchSums, gate: Tensor) -> None:
        """Move the codebook by a batch where `gate` (0-d bool) says so."""

    @abstractmethod
    def _assign(self, codes: Tensor, vectors: Tensor, counts: Tensor, gate: Tensor) -> None:
        """Set entries `codes` `[R]` to `vectors` `[R, D]` with running `counts` `[R]` where `gate` `[R]` says so."""

    def _losses(self, anchors: Tensor, vectors: Tensor, valid: Tensor | None, sums: BatchSums) -> dict[str, Tensor]:
        return {"commitment": self._mean_error(anchors, vectors.detach(), valid, sums)}

    def _mean_error(self, left: Tensor, right: Tensor, valid: Tensor | None, sums: BatchSums) -> Tensor:
        """Mean (0-d) of (left - right)^2 over real positions and channels."""
        if valid is None:
            error = F.mse_loss(left, right, reduction="sum")
        else:
            error = torch.where(valid[:, None], F.mse_loss(left, right, reduction="none"), 0).sum()
        ranks = dist.world_size() if self.training else 1
        return error / (sums.total / ranks).clamp_min(torch.finfo(torch.float32).eps) / self.width

    @torch.no_grad()
    def _initialise(self, rows: Tensor, valid: Tensor | None) -> None:
        """The first training batch with a real position sets the codebook, alike on all ranks."""
        if can_branch(rows):
            if bool(self.initialised):
                self._known_initialised = True
                return
            _raise_unless(torch.isfinite(dist.all_reduce_sum(rows.sum())))
        first = self._first_clusters(rows, valid)
        seen = first.total > 0
        gate = (seen & ~self.initialised).expand(self.codebook_size)
        self._assign(torch.arange(self.codebook_size, device=rows.device), first.centres, first.counts, gate)
        self.initialised.logical_or_(seen)
        if can_branch(rows):
            self._known_initialised = bool(self.initialised)

    def _first_clusters(self, rows: Tensor, valid: Tensor | None) -> Clusters:
        if self.config.init == "kmeans":
            return cluster(rows, valid, self.codebook_size)
        own = valid.sum() if valid is not None else torch.tensor(rows.shape[0], device=rows.device)
        codebook = dist.broadcast(self.codebook.detach().float())
        return Clusters(codebook, torch.zeros_like(self.ema_counts), dist.all_reduce_sum(own))

    @torch.no_grad()
    def _learn(self, rows: Tensor, valid: Tensor | None, sums: BatchSums) -> Tensor:
        """Move counts, codebook and dead codes by a batch when training; how many codes restarted (0-d).

        One look at values per step, to raise and to skip restarts that no code needs; where that cannot be (fake
        tensors, compiled graphs) a non-finite batch changes nothing and the restarts run masked.
        """
        finite = torch.isfinite(sums.squared_error)
        if not self.training:
            _raise_unless(finite)
            return torch.zeros_like(sums.total)
        config = self.config
        gate = finite & (sums.total > 0)
        faded = torch.lerp(sums.counts, self.ema_counts, config.decay)
        counts = torch.where(gate, faded, self.ema_counts)
        cooldown = (self.cooldown - gate.long()).clamp_min(0)
        dead = dead_codes(counts, cooldown, config.restart_below) & gate
        most = min(config.restart_limit, self.codebook_size)
        limit = most if config.restart_below > 0 else 0
        if can_branch(rows):
            is_finite, num_dead = torch.stack((finite.long(), dead.sum())).tolist()
            if not is_finite:
                raise NonFiniteError(_NON_FINITE)
            limit = min(limit, num_dead)
        self.ema_counts.copy_(counts)
        self.cooldown.copy_(cooldown)
        self._move(sums, gate)
        if limit == 0:
            return torch.zeros_like(sums.total)
        found = replacements(rows, valid, self.codebook.detach().float(), dead, limit=limit, most=most)
        start = (config.restart_below * counts.mean()).expand(limit)
        self._assign(found.codes, found.vectors, start, found.taken)
        rest = torch.where(found.taken, config.restart_cooldown, self.cooldown[found.codes])
        self.cooldown.index_copy_(0, found.codes, rest)
        return found.taken.sum().to(sums.total.dtype)

    @torch.no_grad()
    def _stats(self, sums: BatchSums, restarts: Tensor) -> dict[str, Tensor]:
        """Figures of this batch, and `running_*` ones of the moving averages."""
        return {
            "usage": stats.usage(sums.counts),
            "perplexity": stats.perplexity(sums.counts),
            "distortion": sums.squared_error / sums.total.clamp_min(1) / self.width,
            "restarts": restarts,
            "running_usage": stats.running_usage(self.ema_counts, self.config.decay),
            "running_perplexity": stats.perplexity(self.ema_counts),
        }

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> CodebookQuantizer:
        """Move to a device or dtype, except that float32 statistics stay float32, bit for bit."""
        exact = {name: self._buffers[name] for name in self.float32_buffers}
        super()._apply(fn, recurse)
        for name, before in exact.items():
            after = self._buffers[name]
            if before is not None and after is not None and after.dtype != torch.float32:
                self._buffers[name] = before.to(after.device)
        return self


_NON_FINITE = "latents hold NaN or infinity: lower the learning rate or look at the batch (the codebook is unharmed)"


def _raise_unless(finite: Tensor) -> None:
    if can_branch(finite) and not bool(finite):
        raise NonFiniteError(_NON_FINITE)


def _forget_initialised(module: nn.Module, _: object) -> None:
    assert isinstance(module, CodebookQuantizer)
    module._known_initialised = False
