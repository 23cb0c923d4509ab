"""The reconstruction objective of a decoder that learns on alone, from codes as files hold them."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.core.errors import UserError
from codec.models.base import CodecModel, Reconstruction
from codec.models.single_level import SingleLevelCodec
from codec.quantize.residual import ResidualQuantizer
from codec.train.task import ReconstructionTask


class DecoderTask(ReconstructionTask):
    """Losses as of `ReconstructionTask`; encoder and quantizer stay as they are, and so do codes.

    Training of all parts lets each stage take its nearest entry. What `encode` chooses is spread otherwise if it
    searches, and that is what a decoder meets in files. Each row of a training batch gets as many codebooks as
    quantizer dropout draws; evaluation takes all.

    Args: as of `ReconstructionTask`.

    Raises:
        UserError: the model has not one level of residual codes.
    """

    def __init__(self, model: CodecModel, weights: dict[str, float], **options: Any):
        super().__init__(model, weights, **options)
        if not isinstance(model, SingleLevelCodec) or not isinstance(model.quantizer, ResidualQuantizer):
            raise UserError("a decoder learns alone from one level of residual codes: take such a model")
        for part in (model.encoder, model.quantizer):
            part.requires_grad_(False)

    def train(self, mode: bool = True) -> DecoderTask:
        """Training mode for all that learns; the rest stays in evaluation mode."""
        super().train(mode)
        for part in (self._codec.encoder, self._codec.quantizer):
            part.eval()
        return self

    @property
    def _codec(self) -> SingleLevelCodec:
        return cast(SingleLevelCodec, self.model)

    @property
    def _stack(self) -> ResidualQuantizer:
        return cast(ResidualQuantizer, self._codec.quantizer)

    def _run(self, signal: Tensor, mask: Tensor | None) -> Reconstruction:
        with torch.no_grad():
            latents = self._codec.encoder(signal)
            depth = self._stack.draw_depth(len(signal), device=signal.device) if self.training else None
            codes = self._codes(latents, depth)
            real = self._codec.level_mask(mask, self._codec.downsample_factor)
            if real is not None:
                codes = codes.masked_fill(~real[:, None], -1)
        return self._codec.reconstruct_codes(codes)

    def _codes(self, latents: Tensor, depth: Tensor | None) -> Tensor:
        """Codes `[b, q, *space]`, of as many codebooks as `depth` `[b]` says, -1 in the others; all if None."""
        if depth is None:
            return self._stack.encode(latents)
        books = self._stack.num_codebooks
        codes = latents.new_full((len(latents), books, *latents.shape[2:]), -1, dtype=torch.int64)
        for number in depth.unique().tolist():
            rows = depth == number
            found = self._stack.encode(latents[rows], num_active=number)
            codes[rows] = F.pad(found, (0, 0) * (latents.dim() - 2) + (0, books - number), value=-1)
        return codes
