"""A prior for sound in residual codes: frame after frame, in a frame codebook after codebook, each given all before.

A frame is seen as the sum of a vector for each of its codes. A few causal layers say what the frames before lead one to
expect; from that, the sum of the codes known so far and the last of them, two layers and a table for each codebook say
what comes next. Since what is seen is a sum, one prior serves every number of codebooks. All layers are products, cut
off at a ceiling, so that `frame_coding` can run them in exact integer arithmetic, one symbol at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from codec.core.config import Config
from codec.core.errors import UserError
from codec.priors.base import Condition, Geometry, NeuralPrior, raster_groups

CEILING = 16.0
"""Of every activation: what integers of 12 bits reach, in steps of 1/256."""

FARTHEST = 4.0
"""Of the vectors that a prior starts with, in standard deviations of their codebook."""

START_LOGITS = 0.1
"""How much a feature of 1 moves logits before anything is learnt."""


class FrameConfig(Config):
    """A prior over frames of codes.

    Attributes:
        embedding_dim: of the vector that stands for a code.
        hidden: outputs of the causal layers and of the first layer of a codebook.
        features: inputs of the table of a codebook.
        kernel: frames before that the first causal layer sees.
        dilations: of one more causal layer each, over the outputs of the layer before, now and so many frames ago.
    """

    kind: Literal["frames"] = "frames"
    embedding_dim: PositiveInt = 64
    hidden: PositiveInt = 128
    features: PositiveInt = 64
    kernel: PositiveInt = 4
    dilations: tuple[PositiveInt, ...] = (4,)

    @property
    def reach(self) -> int:
        """Frames before that a prediction depends on."""
        return self.kernel + sum(self.dilations)

    def check(self, geometry: Geometry) -> None:
        """Raises UserError unless `geometry` is one level of codes over time, with nothing given."""
        if geometry.ndim != 1 or geometry.coarser or geometry.num_classes is not None:
            raise UserError("a prior of kind 'frames' is for one level of codes over time, without classes")


class BookLayers(nn.Module):
    """A linear layer for every codebook; one tensor holds all, so that each has a gradient whichever are used."""

    def __init__(self, books: int, inputs: int, outputs: int, *, std: float | None = None):
        super().__init__()
        spread = inputs**-0.5 if std is None else std
        self.weight = nn.Parameter(torch.randn(books, outputs, inputs) * spread)
        self.bias = nn.Parameter(torch.zeros(books, outputs))

    def each(self) -> list[tuple[Tensor, Tensor]]:
        """Weight `[outputs, inputs]` and bias `[outputs]` of every codebook."""
        return list(zip(self.weight.unbind(), self.bias.unbind(), strict=True))


@dataclass
class FrameState:
    """Where sampling stands: sums of the last frames `[b, embedding_dim, n]`, of this one so far, its last vector."""

    frames: Tensor
    summed: Tensor
    last: Tensor
    book: int = 0
    past: Tensor = field(default_factory=lambda: torch.empty(0))


class FramePrior(NeuralPrior[FrameState]):
    """See the module; codes of the last codebooks, where a row does without them, are -1 and cost nothing."""

    def __init__(self, config: FrameConfig, geometry: Geometry):
        super().__init__(config, geometry)
        config.check(geometry)
        self.frame_config, level = config, geometry.level
        books, size, width = level.num_codebooks, level.codebook_size, config.embedding_dim
        self.embedding = nn.Parameter(torch.randn(books, size, width))
        self.scale: Tensor
        self.register_buffer("scale", torch.full((books,), books**-0.5))
        self.past = nn.Conv1d(width, config.hidden, config.kernel)
        self.further = nn.ModuleList(nn.Conv1d(config.hidden, config.hidden, 2, dilation=d) for d in config.dilations)
        known = config.hidden + 2 * width
        self.first = BookLayers(books, known, config.hidden)
        self.second = BookLayers(books, config.hidden + known, config.features)
        self.head = BookLayers(books, config.features, size, std=0.02)

    @torch.no_grad()
    def start_at(self, counts: Tensor, vectors: Tensor) -> None:
        """Begin with what is known before anything is learnt: that saves most of the learning.

        Args:
            counts: how often each code is, `[q, K]`.
            vectors: what each code adds to the latents of its frame, `[q, K, n]`.
        """
        shares = counts.to(vectors) + 0.5
        shares = shares / shares.sum(1, keepdim=True)
        self.head.bias.copy_(shares.log())
        vectors = vectors - (shares[..., None] * vectors).sum(1, keepdim=True)
        covariance = torch.einsum("qk,qki,qkj->qij", shares, vectors, vectors)
        axes = torch.linalg.eigh(covariance.sum(0)).eigenvectors.flip(1)  # most variance first
        vectors = vectors @ axes / covariance.sum(0).diagonal().mean().sqrt()
        spread = torch.einsum("qk,qki->q", shares, vectors.square()).div(vectors.shape[2]).sqrt()
        self.scale.copy_(spread)
        vectors = (vectors / spread[:, None, None]).clamp(-FARTHEST, FARTHEST)  # codes out of use may lie anywhere
        for weights, start in ((self.embedding, vectors), (self.head.weight, START_LOGITS * vectors)):
            width = min(weights.shape[2], start.shape[2])
            weights[..., :width] = start[..., :width]

    def forward(self, codes: Tensor, condition: Condition) -> Tensor:
        return torch.stack([logits.movedim(-1, 1) for logits in self._logits(codes)], 2)

    def nll(self, codes: Tensor, condition: Condition) -> Tensor:
        codes = codes[:, : max(1, int((codes >= 0).any(2).any(0).sum()))]  # what no row has takes no time
        each = [
            F.cross_entropy(logits.float().flatten(0, 1), book.flatten(), reduction="none", ignore_index=-1)
            for logits, book in zip(self._logits(codes), codes.unbind(1), strict=True)
        ]
        return torch.stack(each, 1).view(codes.shape[0], codes.shape[2], -1).movedim(2, 1)

    def groups(self, size: tuple[int, ...]) -> Iterator[Tensor]:
        return raster_groups(self.geometry.level.num_codebooks, size)

    def start(self, size: tuple[int, ...], *, condition: Condition, batch: int) -> FrameState:
        self.check_condition(condition, size, batch)
        width = self.frame_config.embedding_dim
        nothing = self.embedding.new_zeros(batch, width)
        return FrameState(nothing[..., None][..., :0], nothing, nothing)

    def step(self, state: FrameState, codes: Tensor | None) -> tuple[Tensor, FrameState]:
        if codes is not None:
            state.last = self.embedding[state.book][codes[:, 0]]
            state.summed = state.summed + self.scale[state.book] * state.last
            state.book += 1
        if state.book == self.geometry.level.num_codebooks:
            frames = torch.cat((state.frames, state.summed[..., None]), 2)[:, :, -self.frame_config.reach :]
            nothing = torch.zeros_like(state.summed)
            state = FrameState(frames, nothing, nothing)
        if state.book == 0:
            state.past = self._past(F.pad(state.frames, (0, 1)))[:, :, -1]
        layers = [books.each()[state.book] for books in (self.first, self.second, self.head)]
        return _logits(state.past, state.summed, state.last, *layers)[:, None], state

    def _logits(self, codes: Tensor) -> Iterator[Tensor]:
        """Logits `[b, frames, K]` of each codebook of `codes` `[b, q, frames]`."""
        each = [
            F.embedding(book.clamp_min(0), table) * (book >= 0)[..., None]
            for book, table in zip(codes.unbind(1), self.embedding, strict=False)
        ]
        vectors = torch.stack(each, 1)  # [b, q, frames, embedding_dim]
        sums = (vectors * self.scale[: codes.shape[1], None, None]).cumsum(1)
        past = self._past(sums[:, -1].movedim(-1, 1)).movedim(1, -1)
        known = (F.pad(x[:, :-1], (0, 0, 0, 0, 1, 0)).unbind(1) for x in (sums, vectors))
        layers = zip(self.first.each(), self.second.each(), self.head.each(), strict=True)
        return (_logits(past, *seen, *own) for seen, own in zip(zip(*known, strict=True), layers, strict=False))

    def _past(self, frames: Tensor) -> Tensor:
        """What frames `[b, embedding_dim, n]` lead one to expect of each, from those before it: `[b, hidden, n]`."""
        past = _cut(self.past(F.pad(_bounded(frames), (self.frame_config.kernel, 0))[:, :, :-1]))
        for layer, dilation in zip(self.further, self.frame_config.dilations, strict=True):
            past = _cut(layer(F.pad(past, (dilation, 0))))
        return past


def _logits(past: Tensor, summed: Tensor, last: Tensor, *layers: tuple[Tensor, Tensor]) -> Tensor:
    """Logits `[..., K]` of a codebook, of what the frames before, the sum of the codes before it and the last say."""
    first, second, head = layers
    known = torch.cat((past, _bounded(summed), _bounded(last)), -1)
    hidden = _cut(F.linear(known, *first))
    return F.linear(_bounded(F.linear(torch.cat((hidden, known), -1), *second)), *head)


def _cut(values: Tensor) -> Tensor:
    return values.clamp(0, CEILING)


def _bounded(values: Tensor) -> Tensor:
    return values.clamp(-CEILING, CEILING)
