"""Residual quantization: each stage codes what the stages before it left over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from codec.core import dist
from codec.core.errors import UserError
from codec.core.precision import float32_island
from codec.core.types import Quantized
from codec.quantize.base import Quantizer, check_codes, check_latents, check_num_active, raise_unless_finite
from codec.quantize.codebook import CodebookQuantizer
from codec.quantize.layout import to_rows
from codec.quantize.merging import mean_losses, merge_stats
from codec.quantize.paths import PathSearch
from codec.quantize.prepared import Prepared
from codec.quantize.rows import Found, RowQuantizer

FEWEST = 1e-3  # times that a code is taken to have been seen, so that it has a price
MOST_COUNTED = 32767  # positions that `count_searched` takes: what counts of 16 bits reach
ROUNDS = 4  # of searching and counting in turns


class ResidualQuantizer(Quantizer):
    """A stack of one-code quantizers, each on the residual of those before (Zeghidour et al. 2021, algorithm 1).

    With z_1 = z and z_(i+1) = z_i - Q_i(z_i), the output is the sum of Q_i(z_i). Its gradient is that of this chain,
    straight through each stage; without projections that is the identity once, however many stages there are. The
    commitment loss of stage i is |z - sg(Q_1 + ... + Q_(i-1)) - sg(Q_i)|^2: with the earlier outputs held fixed every
    stage pulls the encoder, where along the chain only the first would.

    With fewer quantizers than `num_codebooks` they take turns as stages: one quantizer is a codebook that all stages
    share, and learns once a step from all that they saw.

    Losses and `usage`, `perplexity`, `running_*` are means over active stages, `restarts` a sum, `distortion` the mean
    squared error of the whole stack over real positions and channels; `perplexity/0` and the like are single stages'.

    With `paths` more than 1, `encode` chooses the codes of all stages together (`PathSearch`), weighing squared error
    against the bits that codes cost; training and decoding are as ever. With `bit_weight` a bit is worth the same
    error at every rate, and bits are those of running counts. With `rate_weight` it is worth that share of what the
    next stage (of all of them, the last) would take off the error for a bit, and bits are those of codes that were
    searched in this way with as many stages, once `count_searched` has counted them (Chou et al. 1989,
    entropy-constrained, the entries fixed); codes that were never chosen are then left out. Learning forgets the
    counts.

    When training, a sample keeps all stages with probability `1 - dropout`, else the share u^dropout_bias of them with
    u uniform, rounded up; the stages it drops do not see it, and their codes are -1.
    """

    def __init__(
        self,
        stages: Sequence[RowQuantizer],
        *,
        dim: int,
        num_codebooks: int | None = None,
        dropout: float = 0.0,
        dropout_bias: float = 1.0,
        paths: int = 1,
        bit_weight: float = 0.0,
        rate_weight: float = 0.0,
    ) -> None:
        super().__init__(dim)
        assert len({(stage.dim, stage.codebook_size) for stage in stages}) == 1
        self.stages = nn.ModuleList(stages)
        self._num_codebooks = num_codebooks or len(stages)
        self.dropout, self.dropout_bias = dropout, dropout_bias
        self.paths, self.bit_weight, self.rate_weight = paths, bit_weight, rate_weight
        self._search: Prepared[PathSearch] = Prepared()
        self.searched_counts: Tensor | None
        number = self._num_codebooks
        counts = torch.zeros(number, number, stages[0].codebook_size, dtype=torch.int16) if rate_weight else None
        self.register_buffer("searched_counts", counts)

    @property
    def loss_names(self) -> tuple[str, ...]:
        return self._stages()[0].loss_names

    @property
    def num_codebooks(self) -> int:
        return self._num_codebooks

    @property
    def codebook_size(self) -> int:
        return self._stages()[0].codebook_size

    def forward(self, latents: Tensor, *, mask: Tensor | None = None, num_active: int | None = None) -> Quantized:
        check_latents(latents, self.dim, mask)
        active = self._stages()[: check_num_active(num_active, self.num_codebooks)]
        depth = self.draw_depth(len(latents), len(active), device=latents.device) if self.training else None
        with float32_island(latents.device.type):
            real = latents.float() if mask is None else torch.where(mask[:, None], latents.float(), 0)
            anchor = residual = self._enter(real)
            founds: list[Found] = []
            for number, stage in enumerate(active):
                found = stage.look_up(residual, anchor, mask=_keep(mask, depth, number, residual))
                founds.append(found)
                residual = residual - found.latents
                anchor = anchor - found.latents.detach()
            outputs = self._leave(_sum([found.latents for found in founds]))
            if mask is not None:
                outputs = torch.where(mask[:, None], outputs, 0)
            restarts = self._learn(active, founds)
            figures = [
                stage.figures(found, restarted)
                for stage, found, restarted in zip(active, founds, restarts, strict=True)
            ]
            merged = merge_stats(figures) | {"distortion": self._distortion(anchor, mask)}
            losses = mean_losses([found.losses for found in founds])
        codes = torch.cat([found.codes for found in founds], 1)
        return Quantized(outputs.to(latents.dtype), codes, losses, merged)

    @torch.no_grad()
    def encode(self, latents: Tensor, *, num_active: int | None = None) -> Tensor:
        check_latents(latents, self.dim)
        active = self._stages()[: check_num_active(num_active, self.num_codebooks)]
        *early, last = active
        codes: list[Tensor] = []
        with float32_island(latents.device.type):
            residual = self._enter(latents.float())
            raise_unless_finite(torch.isfinite(residual.sum()))
            if self.paths > 1:
                return self._best_paths(residual, len(active))
            for stage in early:
                code, residual = stage.reduce(residual)
                codes.append(code)
            return torch.cat([*codes, last.encode(residual)], 1)

    def dequantize(self, codes: Tensor) -> Tensor:
        check_codes(codes, self.num_codebooks, self.codebook_size)
        stages = self._stages()[: codes.shape[1]]
        parts = [stage.dequantize(code) for stage, code in zip(stages, codes.split(1, 1), strict=True)]
        with float32_island(codes.device.type):
            outputs = self._leave(_sum(parts))
        return torch.where(codes[:, :1] >= 0, outputs, 0)

    def code_counts(self) -> Tensor:
        return torch.cat([stage.code_counts() for stage in self._stages()])

    def draw_depth(
        self, samples: int, num_stages: int | None = None, *, device: torch.device | None = None
    ) -> Tensor | None:
        """How many of the first stages (None: all) each sample of a training batch keeps, `[b]`; None if all do."""
        stages = num_stages or self.num_codebooks
        if self.dropout == 0 or stages == 1:
            return None
        drop, share = torch.rand(2, samples, device=device)
        kept = (share**self.dropout_bias * stages).long().clamp_max(stages - 1) + 1
        return torch.where(drop < self.dropout, kept, stages)

    def encoded_counts(self, num_active: int | None = None) -> Tensor | None:
        if self.searched_counts is None:
            return None
        number = check_num_active(num_active, self.num_codebooks)
        counts = self.searched_counts[number - 1, :number]
        return counts.int().clamp_min(1) if bool(counts.any()) else None

    @torch.no_grad()
    def count_searched(self, latents: Tensor, *, progress: Callable[[int, int], None] | None = None) -> None:
        """Count the codes that `encode` chooses of `latents` `[b, d, *space]`, at every number of stages.

        Codes are priced by these counts from then on, so they are chosen and counted in turns.

        Args:
            latents: at most `MOST_COUNTED` positions.
            progress: called with (numbers of stages done, numbers in all).

        Raises:
            UserError: there are more.
        """
        assert self.searched_counts is not None, "codes are counted for a rate_weight"
        if (positions := latents[:, 0].numel()) > MOST_COUNTED:
            raise UserError(f"{positions} positions are more than are counted: take {MOST_COUNTED}")
        for number, counts in enumerate(self.searched_counts, start=1):
            counts.zero_()
            for _ in range(ROUNDS):
                codes = self.encode(latents, num_active=number).transpose(0, 1).flatten(1)
                counts[:number] = torch.stack([book.bincount(minlength=self.codebook_size) for book in codes])
            if progress:
                progress(number, self.num_codebooks)

    def _best_paths(self, latents: Tensor, num_active: int) -> Tensor:
        state = [tensor for stage in self.stages for tensor in (*stage.parameters(), *stage.buffers())]
        if self.searched_counts is not None:
            state.append(self.searched_counts)
        settings = (num_active, self.bit_weight, self.rate_weight)
        search = self._search.get(lambda: self._prepare_search(num_active), state, settings)
        codes = search.best(to_rows(latents, None), width=self.paths)
        return codes.view(latents.shape[0], *latents.shape[2:], num_active).movedim(-1, 1)

    def _prepare_search(self, num_active: int) -> PathSearch:
        stages = [stage for stage in self._stages() if isinstance(stage, CodebookQuantizer)]
        active = stages[:num_active]
        counts = torch.stack([stage.ema_counts for stage in active])
        weight: Tensor | float = self.bit_weight
        if self.searched_counts is not None:
            following = stages[min(num_active, len(stages) - 1)]
            weight = self.rate_weight * _worth_of_a_bit(following.entries(), following.ema_counts)
            searched = self.searched_counts[num_active - 1, :num_active].float()
            counted = searched.any()
            counts = torch.where(counted, searched, counts)
            prices = (weight * _bits(counts)).masked_fill(counted & (searched == 0), torch.inf)
        else:
            prices = weight * _bits(counts)
        return PathSearch([stage.entries() for stage in active], list(prices))

    def _enter(self, latents: Tensor) -> Tensor:
        """What the first stage sees of float32 `latents` `[b, d, *space]`."""
        return latents

    def _leave(self, outputs: Tensor) -> Tensor:
        """What the sum of the stages' `outputs` `[b, stage's d, *space]` becomes."""
        return outputs

    def _stages(self) -> list[RowQuantizer]:
        own: list[RowQuantizer] = list(self.stages)  # pyright: ignore[reportAssignmentType]
        return [own[number % len(own)] for number in range(self.num_codebooks)]

    def _learn(self, active: Sequence[RowQuantizer], founds: Sequence[Found]) -> list[Tensor]:
        """Each quantizer learns once from all its stages; codes restarted per stage (a shared one's at its first)."""
        if self.training and self.searched_counts is not None:
            self.searched_counts.zero_()  # they were of other entries
        restarts: list[Tensor] = []
        for number, stage in enumerate(active):
            if stage in active[:number]:
                restarts.append(torch.zeros_like(restarts[0]))
            else:
                restarts.append(
                    stage.learn([found for peer, found in zip(active, founds, strict=True) if peer is stage])
                )
        return restarts

    @torch.no_grad()
    def _distortion(self, remainder: Tensor, mask: Tensor | None) -> Tensor:
        errors = remainder.square().mean(1)
        if mask is None:
            mask = torch.ones_like(errors, dtype=torch.bool)
        sums = torch.stack((torch.where(mask, errors, 0).sum(), mask.sum()))
        error, total = dist.all_reduce_sum(sums) if self.training else sums
        return error / total.clamp_min(1)


def _bits(counts: Tensor) -> Tensor:
    """Of codes that are as common as `counts` `[..., K]` say."""
    counts = counts + FEWEST
    return (counts.sum(-1, keepdim=True) / counts).log2()


def _worth_of_a_bit(entries: Tensor, counts: Tensor) -> Tensor:
    """What a stage takes off the squared error of a vector, over the bits that its codes take (1 at least): 0-d.

    The first is the variance of its entries, since each is the mean of its vectors.

    Args:
        entries: `[K, D]`.
        counts: of their codes, `[K]`.
    """
    shares = counts / counts.sum().clamp_min(FEWEST)
    entries = entries - shares @ entries
    return (shares @ entries.square().sum(1)) / (shares @ _bits(counts)).clamp_min(1)


def _sum(parts: Sequence[Tensor]) -> Tensor:
    """In order, so that decoding gives the bits of the forward pass."""
    return reduce(torch.add, parts)


def _keep(mask: Tensor | None, depth: Tensor | None, number: int, latents: Tensor) -> Tensor | None:
    """The real positions `[b, *space]` that stage `number` sees; None if all."""
    if depth is None or number == 0:
        return mask
    kept = (depth > number).view(-1, *[1] * (latents.dim() - 2)).expand(latents.shape[0], *latents.shape[2:])
    return kept if mask is None else mask & kept
