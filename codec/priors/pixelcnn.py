"""Gated PixelCNN over a map of codes, with self-attention or without: priors of top and of lower levels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, cast

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeInt, PositiveInt, field_validator
from torch import Tensor, nn

from codec.core.config import Config
from codec.priors.base import Condition, Geometry, NeuralPrior, raster_groups
from codec.priors.conditioning import Conditioner
from codec.priors.embedding import CodeEmbedding
from codec.priors.gated import AttentionState, GatedLayer, LayerState, RasterAttention
from codec.priors.head import CodebookHead


class PixelCNNConfig(Config):
    """A gated PixelCNN.

    Attributes:
        width: channels.
        blocks: each is `layers` gated layers, then attention if there is any.
        layers: gated layers in a block.
        kernel: extent of a full filter, odd.
        attention_heads: 0 for none (lower levels: van den Oord et al. 2016); else causal self-attention ends each
            block (top level: Chen et al. 2018, Razavi et al. 2019).
        condition_units: residual units per coarser level.
        dropout: share of what a layer adds that is left out in training.
    """

    kind: Literal["pixelcnn"] = "pixelcnn"
    width: PositiveInt = 128
    blocks: PositiveInt = 4
    layers: PositiveInt = 3
    kernel: PositiveInt = 5
    attention_heads: NonNegativeInt = 0
    condition_units: NonNegativeInt = 2
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @field_validator("kernel")
    @classmethod
    def _has_a_middle(cls, kernel: int) -> int:
        if kernel < 3 or kernel % 2 == 0:
            raise ValueError(f"kernel is {kernel}: take an odd one, 3 or more")
        return kernel


class Block(nn.Module):
    """Gated layers, then attention where there is any."""

    def __init__(self, config: PixelCNNConfig):
        super().__init__()
        width, heads = config.width, config.attention_heads
        self.layers = nn.ModuleList(
            GatedLayer(width, kernel=config.kernel, dropout=config.dropout) for _ in range(config.layers)
        )
        self.attention = RasterAttention(width, num_heads=heads) if heads else None

    def forward(self, down: Tensor, across: Tensor, known: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Vertical and horizontal features one block further; all `[b, h, w, channels]`."""
        for layer in self.layers:
            down, across = layer(down, across, known)
        return down, across if self.attention is None else self.attention(across, codes)

    def start(self, like: Tensor) -> BlockState:
        """The state before the first position, for features like `like` `[b, h, w, channels]`."""
        attention = None if self.attention is None else self.attention.start(like)
        return BlockState([layer.start(like) for layer in self._gated()], attention)

    def row(self, down: Tensor, known: Tensor, state: BlockState) -> Tensor:
        """The vertical features of a new row, one block further."""
        for layer, of_layer in zip(self._gated(), state.layers, strict=True):
            down = layer.row(down, known, of_layer)
        return down

    def position(self, across: Tensor, column: int, last_code: Tensor, state: BlockState) -> Tensor:
        """The horizontal features of one position `[b, 1, 1, channels]`, one block further."""
        for layer, of_layer in zip(self._gated(), state.layers, strict=True):
            across = layer.position(across, column, of_layer)
        if self.attention is None or state.attention is None:
            return across
        return self.attention.position(across, last_code, state.attention)

    def _gated(self) -> Iterator[GatedLayer]:
        return (cast(GatedLayer, layer) for layer in self.layers)


@dataclass
class BlockState:
    """What a block remembers."""

    layers: list[LayerState]
    attention: AttentionState | None


@dataclass
class PixelCNNState:
    """Where sampling stands.

    Attributes:
        known: what the condition tells, `[b, h, w, width]`.
        blocks: what each remembers.
        here: embedded codes of this position so far, summed `[b, 1, 1, width]`.
        line: embedded codes of the positions of this row that are done, `[b, 1, 1, width]` each.
        down: vertical features of this row `[b, 1, w, width]`.
        features: of this position, with what its codes so far add, `[b, width]`.
        next: number of codes predicted.
    """

    known: Tensor
    blocks: list[BlockState]
    here: Tensor
    line: list[Tensor]
    down: Tensor
    features: Tensor
    next: int = 0


class PixelCNN(NeuralPrior[PixelCNNState]):
    """Position after position in raster order, at each codebook after codebook; sound is a picture of one line.

    A position's features see the codes of all positions before it. They predict the code of the first codebook; to
    predict that of the next, the code just drawn is added.
    """

    def __init__(self, config: PixelCNNConfig, geometry: Geometry):
        super().__init__(config, geometry)
        width, level = config.width, geometry.level
        self.embedding = CodeEmbedding(level, width)
        self.conditioner = Conditioner(geometry, width, num_units=config.condition_units)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.out = nn.Linear(width, width)
        self.head = CodebookHead(level, width)
        self.earlier = None
        if level.num_codebooks > 1:
            self.earlier = CodeEmbedding(level.model_copy(update={"num_codebooks": level.num_codebooks - 1}), width)

    def forward(self, codes: Tensor, condition: Condition) -> Tensor:
        size = tuple(codes.shape[2:])
        known = self._known(size, condition, batch=len(codes))
        embedded = self.embedding(codes).sum(1).view_as(known)
        down, across = F.pad(embedded, (0, 0, 0, 0, 1, 0))[:, :-1], F.pad(embedded, (0, 0, 1, 0))[:, :, :-1]
        for block in self.blocks:
            down, across = block(down, across, known, embedded)
        features = self.out(down + across).flatten(1, 2).unsqueeze(2)
        if self.earlier is not None:
            drawn = self.earlier(codes.flatten(2)[:, :-1]).transpose(1, 2).cumsum(2)
            features = features + F.pad(drawn, (0, 0, 1, 0))
        return self.head(F.gelu(features)).unflatten(-1, size)

    def groups(self, size: tuple[int, ...]) -> Iterator[Tensor]:
        return raster_groups(self.geometry.level.num_codebooks, size)

    @torch.no_grad()
    def start(self, size: tuple[int, ...], *, condition: Condition, batch: int) -> PixelCNNState:
        known = self._known(size, condition, batch=batch)
        nothing = known.new_zeros(batch, 1, 1, known.shape[3])
        blocks = [block.start(known) for block in self._all_blocks()]
        return PixelCNNState(known, blocks, here=nothing, line=[], down=nothing, features=nothing[:, 0, 0])

    @torch.no_grad()
    def step(self, state: PixelCNNState, codes: Tensor | None) -> tuple[Tensor, PixelCNNState]:
        num_codebooks = self.geometry.level.num_codebooks
        position, codebook = divmod(state.next, num_codebooks)
        if codes is not None:
            self._take(codes[:, 0], (codebook - 1) % num_codebooks, state)
        if codebook == 0:
            self._move_to(*divmod(position, state.known.shape[2]), state)
        state.next += 1
        return self.head.one(F.gelu(state.features), codebook).unsqueeze(1), state

    def _take(self, codes: Tensor, codebook: int, state: PixelCNNState) -> None:
        """The codes `[b]` of `codebook` at this position."""
        state.here = state.here + self.embedding.one(codes, codebook)[:, None, None]
        if self.earlier is not None and codebook < self.geometry.level.num_codebooks - 1:
            state.features = state.features + self.earlier.one(codes, codebook)

    def _move_to(self, row: int, column: int, state: PixelCNNState) -> None:
        """The position done joins its row; then the features of the next are computed, after those of its row."""
        last, state.here = state.here, torch.zeros_like(state.here)
        if (row, column) != (0, 0):
            state.line.append(last)
        if column == 0:
            self._move_down_to(row, state)
        across = last if column else state.here
        for block, of_block in zip(self._all_blocks(), state.blocks, strict=True):
            across = block.position(across, column, last, of_block)
        state.features = self.out(state.down[:, :, column : column + 1] + across)[:, 0, 0]

    def _move_down_to(self, row: int, state: PixelCNNState) -> None:
        known = state.known[:, row : row + 1]
        down = torch.cat(state.line, dim=2) if state.line else torch.zeros_like(known)
        for block, of_block in zip(self._all_blocks(), state.blocks, strict=True):
            down = block.row(down, known, of_block)
        state.down, state.line = down, []

    def _known(self, size: tuple[int, ...], condition: Condition, *, batch: int) -> Tensor:
        """What the condition tells, as a picture."""
        self.check_condition(condition, size, batch)
        known = self.conditioner(condition, size, batch)
        return known if len(size) == 2 else known.unsqueeze(1)

    def _all_blocks(self) -> Iterator[Block]:
        return (cast(Block, block) for block in self.blocks)
