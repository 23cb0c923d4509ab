"""Product quantization: groups of channels, each with a quantizer of its own (Jégou et al. 2011)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from codec.core import dist
from codec.core.types import Quantized
from codec.quantize.base import Quantizer, check_codes, check_latents, check_num_active, raise_unless_finite
from codec.quantize.merging import mean_losses, merge_stats


class GroupedQuantizer(Quantizer):
    """Cuts the channels into as many equal groups as there are quantizers; each codes its own.

    A group may be any quantizer; of residual stacks (Yang et al. 2023, "group-residual") the codes are listed stage by
    stage, all groups' first stages before any second, so that fewer codes are a prefix of more. A group for which
    `num_active` leaves no code is zero.

    Losses and figures are means over groups, `restarts` a sum; `perplexity/0` and the like are single groups'.
    """

    def __init__(self, groups: Sequence[Quantizer]) -> None:
        super().__init__(sum(group.dim for group in groups))
        assert len({(group.dim, group.num_codebooks, group.codebook_size) for group in groups}) == 1
        self.groups = nn.ModuleList(groups)

    @property
    def loss_names(self) -> tuple[str, ...]:
        return self._groups()[0].loss_names

    @property
    def num_codebooks(self) -> int:
        return sum(group.num_codebooks for group in self._groups())

    @property
    def codebook_size(self) -> int:
        return self._groups()[0].codebook_size

    def forward(self, latents: Tensor, *, mask: Tensor | None = None, num_active: int | None = None) -> Quantized:
        check_latents(latents, self.dim, mask)
        active = self._active(check_num_active(num_active, self.num_codebooks))
        self._check_finite(latents, mask)  # before any group learns
        parts = latents.chunk(len(self.groups), 1)
        results = [
            group(part, mask=mask, num_active=number)
            for group, part, number in zip(self._groups(), parts, active, strict=True)
            if number
        ]
        silent = [torch.zeros_like(part) for part in parts[len(results) :]]
        return Quantized(
            torch.cat([*(result.latents for result in results), *silent], 1),
            _interleave([result.codes for result in results]),
            mean_losses([result.losses for result in results]),
            merge_stats([{name: result.stats[name] for name in _figures(result)} for result in results]),
        )

    @torch.no_grad()
    def encode(self, latents: Tensor, *, num_active: int | None = None) -> Tensor:
        check_latents(latents, self.dim)
        active = self._active(check_num_active(num_active, self.num_codebooks))
        parts = latents.chunk(len(self.groups), 1)
        return _interleave(
            [
                group.encode(part, num_active=number)
                for group, part, number in zip(self._groups(), parts, active, strict=True)
                if number
            ]
        )

    def dequantize(self, codes: Tensor) -> Tensor:
        check_codes(codes, self.num_codebooks, self.codebook_size)
        number = len(self.groups)
        parts = [
            group.dequantize(codes[:, index::number]) for index, group in enumerate(self._groups()[: codes.shape[1]])
        ]
        silent = [torch.zeros_like(parts[0])] * (number - len(parts))
        return torch.cat([*parts, *silent], 1)

    def code_counts(self) -> Tensor:
        counts = torch.stack([group.code_counts() for group in self._groups()], 1)
        return counts.flatten(0, 1)

    def _check_finite(self, latents: Tensor, mask: Tensor | None) -> None:
        real = latents.detach() if mask is None else torch.where(mask[:, None], latents.detach(), 0)
        squares = torch.linalg.vector_norm(real.float()).square()
        raise_unless_finite(torch.isfinite(dist.all_reduce_sum(squares) if self.training else squares))

    def _groups(self) -> list[Quantizer]:
        return list(self.groups)  # pyright: ignore[reportReturnType]

    def _active(self, num_active: int) -> list[int]:
        """How many codes each group gives when there are `num_active` in all."""
        number = len(self.groups)
        return [(num_active - index + number - 1) // number for index in range(number)]


def _interleave(codes: Sequence[Tensor]) -> Tensor:
    """Codes `[b, q, *space]` of the groups, stage by stage; later groups may have one stage less."""
    stages = [part.split(1, 1) for part in codes]
    return torch.cat([part[stage] for stage in range(len(stages[0])) for part in stages if stage < len(part)], 1)


def _figures(result: Quantized) -> list[str]:
    return [name for name in result.stats if "/" not in name]
