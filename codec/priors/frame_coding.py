"""A frame prior in exact integer arithmetic, so that what one machine coded any other decodes.

`frames_to_integers` (in `frame_export`) makes one from a trained `FramePrior`, once; from then on it is a prior of its
own. The loop that reads it is compiled, and that only when it is first used: `frame_kernel`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from codec.core.config import Config
from codec.core.errors import UserError
from codec.priors.base import Geometry
from codec.priors.coding import Codes, CodingPrior
from codec.priors.frame_tables import (
    MAX_ACTIVATION,
    MAX_BIAS,
    MAX_BYTE,
    MAX_CODES,
    MAX_WEIGHT,
    FrameTables,
    LayerTables,
)
from codec.priors.frames import FrameConfig

LARGEST = {torch.int8: MAX_BYTE, torch.int16: MAX_WEIGHT}
"""Weight in magnitude by type."""


class FrameCodingConfig(Config):
    """The integers of one frame prior.

    Attributes:
        exponentials: length of the table of exp(-x).
    """

    kind: Literal["integer_frames"] = "integer_frames"
    frames: FrameConfig
    exponentials: PositiveInt


class IntegerLayers(nn.Module):
    """`(weight x + bias) >> shift` of n layers: weights of 11 bits or 8, biases of 29, a shift for each output."""

    def __init__(self, count: int, inputs: int, outputs: int, *, weights: torch.dtype = torch.int16):
        super().__init__()
        if inputs * LARGEST[weights] * MAX_ACTIVATION + MAX_BIAS >= 1 << 31:
            raise UserError(f"sums of {inputs} products may pass 2**31: take a smaller kernel or fewer hidden outputs")
        self.weight: Tensor
        self.bias: Tensor
        self.shift: Tensor
        self.register_buffer("weight", torch.zeros(count, outputs, inputs, dtype=weights))
        self.register_buffer("bias", torch.zeros(count, outputs, dtype=torch.int32))
        self.register_buffer("shift", torch.zeros(count, outputs, dtype=torch.uint8))


class FrameCodingPrior(CodingPrior[FrameCodingConfig]):
    """See the module.

    Raises:
        UserError: the geometry is not that of frames, or sums might pass 2**31.
    """

    def __init__(self, config: FrameCodingConfig, geometry: Geometry):
        super().__init__(config, geometry)
        frames, level = config.frames, geometry.level
        frames.check(geometry)
        books, size, width = level.num_codebooks, level.codebook_size, frames.embedding_dim
        if size > MAX_CODES:
            raise UserError(f"codebooks have {size} codes; a prior of integers takes at most {MAX_CODES}")
        self.embedding: Tensor
        self.embedding_shift: Tensor
        self.scale: Tensor
        self.exponentials: Tensor
        self.register_buffer("embedding", torch.zeros(books, size, width, dtype=torch.int8))
        self.register_buffer("embedding_shift", torch.zeros(books, dtype=torch.uint8))
        self.register_buffer("scale", torch.zeros(books, dtype=torch.int32))
        self.register_buffer("exponentials", torch.zeros(config.exponentials, dtype=torch.int32))
        self.dilations = np.array(frames.dilations, dtype=np.int64)
        self.past = IntegerLayers(1, frames.kernel * width, frames.hidden)
        self.further = IntegerLayers(len(frames.dilations), 2 * frames.hidden, frames.hidden)
        known = frames.hidden + 2 * width
        self.first = IntegerLayers(books, known, frames.hidden, weights=torch.int8)
        self.second = IntegerLayers(books, frames.hidden + known, frames.features, weights=torch.int8)
        self.head = IntegerLayers(books, frames.features, size, weights=torch.int8)

    def encode(self, codes: Codes) -> bytes:
        from codec.entropy.compiled import finish, new_encoder
        from codec.priors.frame_kernel import code_frames

        (level,) = codes
        if level.size and not 0 <= level.min() <= level.max() < self.geometry.level.codebook_size:
            raise ValueError(f"codes go from {level.min()} to {level.max()}; wanted those of the codebooks")
        coder, words = new_encoder(level.size + level.shape[0] * level.shape[2])
        for row in np.ascontiguousarray(level, dtype=np.int64):
            code_frames(row, self.tables, coder, words, True)
        return finish(coder, words)

    def decode(self, data: bytes, shapes: Sequence[tuple[int, ...]]) -> Codes:
        from codec.entropy.compiled import check, new_decoder
        from codec.priors.frame_kernel import code_frames

        (shape,) = shapes
        level = np.zeros(shape, dtype=np.int64)
        coder, words = new_decoder(data)
        for row in level:
            check(code_frames(row, self.tables, coder, words, False))
        return (level,)

    @cached_property
    def tables(self) -> FrameTables:
        """All numbers as the loop reads them."""
        past, further, first, second, head = (
            _arrays(layers) for layers in (self.past, self.further, self.first, self.second, self.head)
        )
        embedding = self.embedding.cpu().numpy().astype(np.int16)
        shift = self.embedding_shift.cpu().numpy()[:, None, None]
        return FrameTables(
            np.left_shift(embedding, shift, dtype=np.int16),
            self.scale.cpu().numpy().astype(np.int64),
            past,
            further,
            self.dilations,
            first,
            second,
            head,
            self.exponentials.cpu().numpy(),
        )


def _arrays(layers: IntegerLayers) -> LayerTables:
    weight, bias, shift = (tensor.cpu().numpy() for tensor in (layers.weight, layers.bias, layers.shift))
    return LayerTables(weight.astype(np.int16), bias, shift.astype(np.int32))
