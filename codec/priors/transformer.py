"""A causal transformer over the tokens of a level: position after position, at each codebook after codebook."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, cast

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from codec.core.config import Config
from codec.priors.attention import CausalAttention, Memory
from codec.priors.base import Condition, Geometry, NeuralPrior, raster_groups
from codec.priors.conditioning import Conditioner
from codec.priors.embedding import CodeEmbedding
from codec.priors.head import CodebookHead


class TransformerConfig(Config):
    """A transformer prior, for sound and for small maps: time and memory of training grow with the tokens squared.

    Attributes:
        width: channels.
        heads: of attention.
        expansion: channels inside the feed-forward part, as a multiple of `width`.
        condition_units: residual units per coarser level.
        dropout: share of what a layer adds that is left out in training.
    """

    kind: Literal["transformer"] = "transformer"
    width: PositiveInt = 256
    layers: PositiveInt = 6
    heads: PositiveInt = 4
    expansion: PositiveInt = 4
    condition_units: NonNegativeInt = 2
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class TransformerLayer(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x)) (Radford et al. 2019, section 2.3)."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        width, hidden = config.width, config.width * config.expansion
        self.dropout = config.dropout
        self.attention_norm, self.forward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = CausalAttention(width, width, num_heads=config.heads)
        self.feed_forward = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, features: Tensor) -> Tensor:
        """`[b, n, width]` to the same."""
        own = self.attention_norm(features)
        return self._rest(features, self.attention(own, own))

    def step(self, features: Tensor, memory: Memory) -> Tensor:
        """The next token's features `[b, 1, width]`, one layer further; it joins `memory`."""
        own = self.attention_norm(features)
        return self._rest(features, self.attention.step(own, own, memory))

    def _rest(self, features: Tensor, attended: Tensor) -> Tensor:
        features = features + self._dropped(attended)
        return features + self._dropped(self.feed_forward(self.forward_norm(features)))

    def _dropped(self, added: Tensor) -> Tensor:
        return F.dropout(added, self.dropout, self.training)


@dataclass
class TransformerState:
    """Where sampling stands.

    Attributes:
        known: what the condition tells, `[b, positions, width]`.
        memories: of each layer.
    """

    known: Tensor
    memories: list[Memory]


class Transformer(NeuralPrior[TransformerState]):
    """Each token is predicted from all before it, from its codebook, and from what is known of its position."""

    def __init__(self, config: TransformerConfig, geometry: Geometry):
        super().__init__(config, geometry)
        width, level = config.width, geometry.level
        self.embedding = CodeEmbedding(level, width)
        self.codebook = nn.Parameter(torch.randn(level.num_codebooks, width))
        self.conditioner = Conditioner(geometry, width, num_units=config.condition_units)
        self.layers = nn.ModuleList(TransformerLayer(config) for _ in range(config.layers))
        self.head = CodebookHead(level, width)

    def forward(self, codes: Tensor, condition: Condition) -> Tensor:
        size, num_codebooks = tuple(codes.shape[2:]), self.geometry.level.num_codebooks
        known = self._known(size, condition, batch=len(codes))
        tokens = self.embedding(codes.flatten(2)).transpose(1, 2).flatten(1, 2)
        features = F.pad(tokens, (0, 0, 1, 0))[:, :-1] + (known.unsqueeze(2) + self.codebook).flatten(1, 2)
        for layer in self.layers:
            features = layer(features)
        return self.head(features.unflatten(1, (-1, num_codebooks))).unflatten(-1, size)

    def groups(self, size: tuple[int, ...]) -> Iterator[Tensor]:
        return raster_groups(self.geometry.level.num_codebooks, size)

    @torch.no_grad()
    def start(self, size: tuple[int, ...], *, condition: Condition, batch: int) -> TransformerState:
        known = self._known(size, condition, batch=batch)
        num_tokens = known.shape[1] * self.geometry.level.num_codebooks
        return TransformerState(known, [Memory(num_tokens) for _ in self.layers])

    @torch.no_grad()
    def step(self, state: TransformerState, codes: Tensor | None) -> tuple[Tensor, TransformerState]:
        num_codebooks = self.geometry.level.num_codebooks
        position, codebook = divmod(state.memories[0].length, num_codebooks)
        features = state.known[:, position : position + 1] + self.codebook[codebook]
        if codes is not None:
            features = features + self.embedding.one(codes, (codebook - 1) % num_codebooks)
        for layer, memory in zip(self.layers, state.memories, strict=True):
            features = cast(TransformerLayer, layer).step(features, memory)
        return self.head.one(features, codebook), state

    def _known(self, size: tuple[int, ...], condition: Condition, *, batch: int) -> Tensor:
        self.check_condition(condition, size, batch)
        return self.conditioner(condition, size, batch).flatten(1, -2)
