"""What every model is to files, training and evaluation: levels of codes on the canonical grid of chunks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from codec.core.config import Config
from codec.core.errors import UserError
from codec.core.overlap import Chunk, Span
from codec.core.precision import float32_island
from codec.core.types import Quantized
from codec.entropy.table import MAX_CODEBOOK_SIZE
from codec.models.checks import CodeGrid, check_codes, check_number_of_levels, check_signal
from codec.models.chunking import Window, codes_extent, decode_grid, encode_grid, refined
from codec.models.media import Media
from codec.nn.likelihoods import LikelihoodConfig, build_likelihood
from codec.quantize.base import Quantizer


class CodecConfig(Config):
    """What the config of every kind of model says.

    Attributes:
        media: what it codes.
        chunk: codes of the coarsest level per axis in one cell of the canonical grid; decides how much memory coding
            takes.
        likelihood: the distribution whose parameters the decoder gives; None: it gives the signal.
    """

    settings = frozenset({"chunk"})
    media: Media
    chunk: PositiveInt
    likelihood: LikelihoodConfig | None = None

    @property
    @abstractmethod
    def downsample_factor(self) -> int:
        """Signal positions per code of the coarsest level, per axis."""


@dataclass(frozen=True)
class Reconstruction:
    """Result of a training forward pass.

    Attributes:
        signal: `[b, channels, *space]`.
        levels: what each level's quantizer made of it, coarse to fine.
        outputs: of the decoder, `[b, outputs, *space]`: the signal itself, or what says how likely each is.
    """

    signal: Tensor
    levels: tuple[Quantized, ...]
    outputs: Tensor


class CodecModel(nn.Module, ABC):
    """Signals `[b, channels, *space]` in [-1, 1] to codes and back, over one or two axes.

    Codes are a tuple of levels, coarse to fine: `[b, q, *space / factor]` int64, of a factor that divides the coarsest
    level's. Whole signals, files and streams all run the same windows (`codec.models.chunking`), so they agree.

    A subclass builds its layers (the decoder's last gives `num_outputs` channels), then calls `_declare_levels`, and
    says five things: its `quantizers`, how it reconstructs when training, how it encodes and decodes one window, and
    which positions those depend on.
    """

    def __init__(self, config: CodecConfig):
        super().__init__()
        self.config = config
        self.media = config.media
        self.ndim = config.media.ndim
        self.name = "unsaved"
        self.fingerprint = "0" * 16
        self.levels: tuple[CodeGrid, ...] = ()
        self.histogram: Tensor
        channels, likelihood = config.media.channels, config.likelihood
        self.likelihood = build_likelihood(likelihood, channels=channels) if likelihood else None
        self.num_outputs = self.likelihood.num_outputs if self.likelihood else channels

    @property
    @abstractmethod
    def quantizers(self) -> Sequence[Quantizer]:
        """One per level, coarse to fine."""

    @abstractmethod
    def _reconstruct(
        self, signal: Tensor, masks: Sequence[Tensor | None], num_active: Sequence[int | None]
    ) -> tuple[Tensor, tuple[Quantized, ...]]:
        """The decoder's outputs for a batch, and each level; `masks` `[b, *space / factor]`, one per level."""

    @abstractmethod
    def _encode_window(self, window: Tensor, keep: Window, num_active: Sequence[int | None]) -> tuple[Tensor, ...]:
        """Codes of every level in `keep`, in codes of the coarsest, of a `window` `[1, channels, *space]`."""

    @abstractmethod
    def _decode_window(self, codes: tuple[Tensor, ...]) -> Tensor:
        """The decoder's outputs for a window of codes `[1, q, *space]`; the finest levels may be missing."""

    @abstractmethod
    def _encoder_span(self, codes: Span) -> Span:
        """Signal positions that all levels' codes inside `codes` of the coarsest level depend on, per axis."""

    @abstractmethod
    def _decoder_span(self, positions: Span) -> Span:
        """Codes of the coarsest level within which lie all codes that signal `positions` depend on, per axis."""

    @property
    def _alignment(self) -> int:
        """Windows start at multiples of so many codes of the coarsest level, per axis."""
        return 1

    @property
    def downsample_factor(self) -> int:
        """Signal positions per code of the coarsest level, per axis: the hop length of an audio model, in samples."""
        return self.config.downsample_factor

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Names of the losses that the quantizers give."""
        return tuple(dict.fromkeys(name for quantizer in self.quantizers for name in quantizer.loss_names))

    @property
    def rates(self) -> tuple[int, ...]:
        """The numbers of active codebooks that the model works with, ascending."""
        return tuple(range(1, max(grid.num_codebooks for grid in self.levels) + 1))

    @property
    def frame_rate(self) -> float:
        """Codes per second of each codebook of the coarsest level, in Hz; audio models only."""
        if self.media.kind != "audio":
            raise UserError(f"{self.name} codes pictures: it has no frame rate")
        return self.media.sample_rate / self.downsample_factor

    def forward(self, signal: Tensor, *, mask: Tensor | None = None, num_active: int | None = None) -> Reconstruction:
        """Reconstruct `signal` `[b, channels, *space]`, every extent a multiple of `downsample_factor`.

        Args:
            mask: `[b, *space]`, True where the signal is real; a latent counts if any of its positions is.
            num_active: use the first codebooks of each level only.
        """
        masks = [self.level_mask(mask, grid.downsample_factor) for grid in self.levels]
        outputs, levels = self._reconstruct(signal, masks, self._active(num_active))
        return Reconstruction(self._point(outputs), levels, outputs)

    def encode(self, signal: Tensor, *, num_active: int | None = None) -> tuple[Tensor, ...]:
        """Codes of `signal` `[b, channels, *space]` of any size from 1 up: a tuple of `[b, q, *space]`, one per level.

        Args:
            num_active: use the first `num_active` codebooks of each level only (fewer bits); all if None.
        """
        check_signal(signal, self.media, self.name)
        size = tuple(signal.shape[2:])
        extent = codes_extent(size, self.downsample_factor)
        codes: tuple[Tensor, ...] = ()
        for chunk in self.encode_chunks(size):
            parts = self.encode_chunk(signal[(..., *chunk.source)], chunk, num_active=num_active)
            codes = codes or tuple(
                part.new_empty((*part.shape[:2], *(ratio * codes for codes in extent)))
                for part, ratio in zip(parts, self._ratios, strict=True)
            )
            for level, part, ratio in zip(codes, parts, self._ratios, strict=True):
                level[(..., *refined(chunk.target, ratio))] = part
        return codes

    def decode(
        self, codes: tuple[Tensor, ...], *, size: tuple[int, ...] | None = None, num_levels: int | None = None
    ) -> Tensor:
        """Signal `[b, channels, *size]` of `codes`, a tuple of `[b, q, *space]`; the finest levels may be missing.

        Args:
            size: extent of the signal per axis; as long as the codes reach if None.
            num_levels: use the coarsest levels only; all that are there if None.
        """
        codes = codes[:num_levels]
        check_number_of_levels(codes, self.levels, self.name)
        size = size or tuple(extent * self.downsample_factor for extent in codes[0].shape[2:])
        coarsest = codes_extent(size, self.downsample_factor)
        for level, ratio in zip(codes, self._ratios, strict=False):
            expected = tuple(ratio * extent for extent in coarsest)
            if tuple(level.shape[2:]) != expected:
                raise UserError(
                    f"codes of extent {tuple(level.shape[2:])} do not make a signal of {size}: want {expected}"
                )
        signal: Tensor | None = None
        for chunk in self.decode_chunks(size):
            window = tuple(
                level[(..., *refined(chunk.source, ratio))] for level, ratio in zip(codes, self._ratios, strict=False)
            )
            part = self.decode_chunk(window, chunk)
            signal = part.new_empty((*part.shape[:2], *size)) if signal is None else signal
            signal[(..., *chunk.target)] = part
        assert signal is not None
        return signal

    def encode_chunks(self, size: tuple[int, ...], *, first: int = 0) -> Iterator[Chunk]:
        """The canonical grid of a signal of `size`, from chunk `first` on; sources in samples or pixels, targets in
        codes of the coarsest level."""
        return encode_grid(size, needs=self._encoder_span, first=first, **self._grid)

    def decode_chunks(self, size: tuple[int, ...], *, first: int = 0) -> Iterator[Chunk]:
        """The same cells for decoding: sources in codes of the coarsest level, targets in samples or pixels."""
        return decode_grid(size, needs=self._decoder_span, first=first, **self._grid)

    @torch.inference_mode()
    def encode_chunk(self, window: Tensor, chunk: Chunk, *, num_active: int | None = None) -> tuple[Tensor, ...]:
        """Codes of `chunk.target`, level by level, from `window` = signal[chunk.source]; rows run one by one."""
        window = self._to_own_device(window)
        overhang = [-extent % self.downsample_factor for extent in window.shape[2:]]
        padding = [side for extra in reversed(overhang) for side in (0, extra)]
        first = [part.start // self.downsample_factor for part in chunk.source]
        keep = tuple(slice(t.start - f, t.stop - f) for t, f in zip(chunk.target, first, strict=True))
        active = self._active(num_active)
        with float32_island(window.device.type):
            rows = [self._encode_window(F.pad(row, padding, mode="replicate"), keep, active) for row in window.split(1)]
        return tuple(torch.cat(level) for level in zip(*rows, strict=True))

    @torch.inference_mode()
    def decode_chunk(self, codes: tuple[Tensor, ...], chunk: Chunk) -> Tensor:
        """Signal of `chunk.target` from `codes`, each level's codes in `chunk.source`; rows run one by one."""
        check_codes(codes, self.levels, self.ndim, self.name)
        device = self.histogram.device
        origin = [part.start * self.downsample_factor for part in chunk.source]
        keep = tuple(slice(t.start - o, t.stop - o) for t, o in zip(chunk.target, origin, strict=True))
        windows = zip(*(level.to(device).split(1) for level in codes), strict=True)
        with float32_island(device.type):
            rows = [self._point(self._decode_window(window)[(..., *keep)]) for window in windows]
        return torch.cat(rows).clamp(-1.0, 1.0)

    def code_histograms(self, num_active: int | None = None) -> tuple[Tensor, ...]:
        """Integer counts `[q, K]` per level, each at least 1: the static model of the entropy coder.

        Args:
            num_active: codebooks in use, for models whose codes are spread otherwise at every rate; all if None.
        """
        active = self._active(num_active)
        counted = [part.encoded_counts(number) for part, number in zip(self.quantizers, active, strict=True)]
        return tuple(own if new is None else new for own, new in zip(self._histograms(), counted, strict=True))

    def freeze_histograms(self) -> None:
        """Take the quantizers' running counts as the histograms, once, so that they are integers on every machine."""
        for histogram, quantizer in zip(self._histograms(), self.quantizers, strict=True):
            histogram.copy_(quantizer.code_counts().clamp_min(1))

    def _histograms(self) -> tuple[Tensor, ...]:
        books = self.histogram.split([grid.num_codebooks for grid in self.levels])
        return tuple(book[:, : grid.codebook_size] for book, grid in zip(books, self.levels, strict=True))

    def level_mask(self, mask: Tensor | None, factor: int) -> Tensor | None:
        """Which codes `[b, *space / factor]` stand for a position that is real by `mask` `[b, *space]`."""
        if mask is None:
            return None
        for axis in range(1, mask.dim()):
            mask = mask.unflatten(axis, (-1, factor)).any(axis + 1)
        return mask

    def _declare_levels(self, *factors: int) -> None:
        """Say, once the quantizers are built, how many positions a code of each level stands for, coarse to fine."""
        self.levels = tuple(
            CodeGrid(quantizer.num_codebooks, quantizer.codebook_size, factor)
            for quantizer, factor in zip(self.quantizers, factors, strict=True)
        )
        largest = max(grid.codebook_size for grid in self.levels)
        if largest > MAX_CODEBOOK_SIZE:
            raise UserError(
                f"the quantizer has codes of {largest} values; files hold up to {MAX_CODEBOOK_SIZE}: "
                "split them with kind 'grouped'"
            )
        books = sum(grid.num_codebooks for grid in self.levels)
        self.register_buffer("histogram", torch.ones(books, largest, dtype=torch.int64))

    def _point(self, outputs: Tensor) -> Tensor:
        """The signal that the decoder's `outputs` speak for."""
        return self.likelihood.point(outputs) if self.likelihood else outputs

    @property
    def _grid(self) -> dict[str, int]:
        return {"factor": self.downsample_factor, "step": self.config.chunk, "align": self._alignment}

    @property
    def _ratios(self) -> tuple[int, ...]:
        """Codes per axis of each level for one of the coarsest."""
        return tuple(self.downsample_factor // grid.downsample_factor for grid in self.levels)

    def _active(self, num_active: int | None) -> tuple[int | None, ...]:
        """`num_active` for each level, at most all of its codebooks; too many for every level stay too many."""
        most = max(grid.num_codebooks for grid in self.levels)
        if num_active is None or num_active > most:
            return (num_active,) * len(self.levels)
        return tuple(min(num_active, grid.num_codebooks) for grid in self.levels)

    def _to_own_device(self, signal: Tensor) -> Tensor:
        return signal.to(self.histogram.device, torch.float32)
