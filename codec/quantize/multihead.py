"""Multi-head quantization: several heads of channels look up in one codebook."""

from __future__ import annotations

import torch
from torch import Tensor

from codec.core.types import Quantized
from codec.quantize.base import Quantizer, check_codes, check_latents, check_num_active
from codec.quantize.rows import RowQuantizer


class MultiHeadQuantizer(Quantizer):
    """Cuts the channels into equal heads, which all share one quantizer; one code per head and position.

    The heads are an axis of space to the shared quantizer, so its losses, figures and learning are those of all heads
    together. (With a codebook of its own for every head it would be `grouped`.) Heads beyond `num_active` are zero.
    """

    def __init__(self, shared: RowQuantizer, *, num_heads: int) -> None:
        super().__init__(shared.dim * num_heads)
        self.shared = shared
        self.num_heads = num_heads

    @property
    def loss_names(self) -> tuple[str, ...]:
        return self.shared.loss_names

    @property
    def num_codebooks(self) -> int:
        return self.num_heads

    @property
    def codebook_size(self) -> int:
        return self.shared.codebook_size

    def forward(self, latents: Tensor, *, mask: Tensor | None = None, num_active: int | None = None) -> Quantized:
        check_latents(latents, self.dim, mask)
        active = check_num_active(num_active, self.num_heads)
        heads = self._heads(latents)[..., :active]
        if mask is not None:
            mask = mask[..., None].expand(*mask.shape, active)
        result = self.shared(heads, mask=mask)
        return Quantized(self._join(result.latents), _codes(result.codes), result.losses, result.stats)

    @torch.no_grad()
    def encode(self, latents: Tensor, *, num_active: int | None = None) -> Tensor:
        check_latents(latents, self.dim)
        active = check_num_active(num_active, self.num_heads)
        return _codes(self.shared.encode(self._heads(latents)[..., :active]))

    def dequantize(self, codes: Tensor) -> Tensor:
        check_codes(codes, self.num_heads, self.codebook_size)
        return self._join(self.shared.dequantize(codes.movedim(1, -1)[:, None]))

    def code_counts(self) -> Tensor:
        return self.shared.code_counts().expand(self.num_heads, -1)

    def _heads(self, latents: Tensor) -> Tensor:
        """`[b, h d, *space]` to `[b, d, *space, h]`."""
        return latents.unflatten(1, (self.num_heads, -1)).movedim(1, -1)

    def _join(self, heads: Tensor) -> Tensor:
        """`[b, d, *space, up to h]` to `[b, h d, *space]`, heads that are missing zero."""
        missing = self.num_heads - heads.shape[-1]
        return torch.nn.functional.pad(heads, (0, missing)).movedim(-1, 1).flatten(1, 2)


def _codes(codes: Tensor) -> Tensor:
    """`[b, 1, *space, h]` to `[b, h, *space]`."""
    return codes[:, 0].movedim(-1, 1)
