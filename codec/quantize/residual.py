"""Residual quantization: each stage codes what the stages before it left over."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from codec.core import dist
from codec.core.precision import float32_island
from codec.core.types import Quantized
from codec.quantize.base import Quantizer, check_codes, check_latents, check_num_active


class ResidualQuantizer(Quantizer):
    """A stack of one-code quantizers, each on the residual of those before (Zeghidour et al. 2021, algorithm 1).

    With z_1 = z and z_(i+1) = z_i - Q_i(z_i), the output is the sum of Q_i(z_i). Its gradient is that of this chain,
    straight through each stage; without projections that is the identity once, however many stages there are. The
    commitment loss of stage i is |z - sg(Q_1 + ... + Q_(i-1)) - sg(Q_i)|^2: with the earlier outputs held fixed every
    stage pulls the encoder, where along the chain only the first would.

    Losses and `usage`, `perplexity`, `running_*` are means over active stages, `restarts` a sum, `distortion` the mean
    squared error of the whole stack over real positions and channels; `perplexity/0` and the like are single stages'.

    When training, a sample keeps all stages with probability `1 - dropout`, else a uniformly drawn number of them, at
    least one; the stages it drops do not see it, and their codes are -1.
    """

    def __init__(self, stages: Sequence[Quantizer], *, dropout: float = 0.0) -> None:
        super().__init__(stages[0].dim)
        assert all(stage.num_codebooks == 1 and stage.dim == self.dim for stage in stages)
        assert len({stage.codebook_size for stage in stages}) == 1
        self.stages = nn.ModuleList(stages)
        self.dropout = dropout

    @property
    def loss_names(self) -> tuple[str, ...]:
        return self._stages()[0].loss_names

    @property
    def num_codebooks(self) -> int:
        return len(self.stages)

    @property
    def codebook_size(self) -> int:
        return self._stages()[0].codebook_size

    def forward(self, latents: Tensor, *, mask: Tensor | None = None, num_active: int | None = None) -> Quantized:
        return self._run(latents, latents, mask=mask, num_active=num_active)

    def quantize(self, latents: Tensor, anchor: Tensor, *, mask: Tensor | None) -> Quantized:
        return self._run(latents, anchor, mask=mask, num_active=None)

    def _run(self, latents: Tensor, anchor: Tensor, *, mask: Tensor | None, num_active: int | None) -> Quantized:
        check_latents(latents, self.dim, mask)
        active = self._stages()[: check_num_active(num_active, self.num_codebooks)]
        depth = self._draw_depth(latents, len(active))
        with float32_island(latents.device.type):
            residual = latents.float()
            anchor = residual if anchor is latents else anchor.float()
            outputs, results = None, []
            for number, stage in enumerate(active):
                result = stage.quantize(residual, anchor, mask=_keep(mask, depth, number, residual))
                outputs = result.latents if outputs is None else outputs + result.latents
                residual = residual - result.latents
                anchor = anchor - result.latents.detach()
                results.append(result)
            assert outputs is not None
            figures = _merge_stats(results) | {"distortion": self._distortion(anchor, mask)}
        codes = torch.cat([result.codes for result in results], 1)
        return Quantized(outputs.to(latents.dtype), codes, _mean_losses(results), figures)

    @torch.no_grad()
    def encode(self, latents: Tensor, *, num_active: int | None = None) -> Tensor:
        check_latents(latents, self.dim)
        codes, residual = [], latents.float()
        for stage in self._stages()[: check_num_active(num_active, self.num_codebooks)]:
            codes.append(stage.encode(residual))
            residual = residual - stage.dequantize(codes[-1])
        return torch.cat(codes, 1)

    def dequantize(self, codes: Tensor) -> Tensor:
        check_codes(codes, self.num_codebooks, self.codebook_size)
        stages = self._stages()[: codes.shape[1]]
        outputs = stages[0].dequantize(codes[:, :1])
        for number, stage in enumerate(stages[1:], 1):
            outputs = outputs + stage.dequantize(codes[:, number : number + 1])
        return outputs

    def code_counts(self) -> Tensor:
        return torch.cat([stage.code_counts() for stage in self._stages()])

    def _stages(self) -> list[Quantizer]:
        return list(self.stages)  # pyright: ignore[reportReturnType]

    def _draw_depth(self, latents: Tensor, stages: int) -> Tensor | None:
        """How many stages each sample keeps, `[b]`; None if all keep all."""
        if not self.training or self.dropout == 0 or stages == 1:
            return None
        drop, depth = torch.rand(2, latents.shape[0], device=latents.device)
        return torch.where(drop < self.dropout, 1 + (depth * stages).long().clamp_max(stages - 1), stages)

    @torch.no_grad()
    def _distortion(self, remainder: Tensor, mask: Tensor | None) -> Tensor:
        errors = remainder.square().mean(1)
        if mask is None:
            mask = torch.ones_like(errors, dtype=torch.bool)
        sums = torch.stack((torch.where(mask, errors, 0).sum(), mask.sum()))
        error, total = dist.all_reduce_sum(sums) if self.training else sums
        return error / total.clamp_min(1)


def _keep(mask: Tensor | None, depth: Tensor | None, number: int, latents: Tensor) -> Tensor | None:
    """The real positions `[b, *space]` that stage `number` sees; None if all."""
    if depth is None or number == 0:
        return mask
    kept = (depth > number).view(-1, *[1] * (latents.dim() - 2)).expand(latents.shape[0], *latents.shape[2:])
    return kept if mask is None else mask & kept


def _mean_losses(results: Sequence[Quantized]) -> dict[str, Tensor]:
    return {name: torch.stack([result.losses[name] for result in results]).mean() for name in results[0].losses}


def _merge_stats(results: Sequence[Quantized]) -> dict[str, Tensor]:
    merged: dict[str, Tensor] = {}
    for name in results[0].stats:
        values = torch.stack([result.stats[name] for result in results])
        merged[name] = values.sum() if name == "restarts" else values.mean()
        merged |= {f"{name}/{number}": value for number, value in enumerate(values.unbind())}
    return merged
