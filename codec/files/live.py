"""Sound coded while it comes in, block by block; what is held between blocks is an argument and a result.

    encoder = LiveEncoder.of(model)
    state = encoder.start()
    for block in microphone:                           # [channels, n], any n, at the model's rate
        codes, state = encoder.feed(state, block)      # often none yet: [rows, q, 0]
    codes = encoder.finish(state)

A stream runs the same windows as a whole signal (`codec.models.chunking`), and so gives the same codes, in cells of
the model's `chunk`; `codec.models.latency` says how long one waits for them. A model with a short chunk answers sooner
and computes more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from codec.core.overlap import Chunk
from codec.files.errors import EmptyFileError, WrongMediaError
from codec.files.rate import active_levels
from codec.files.windows import Tape
from codec.models.base import CodecModel
from codec.models.checks import check_codes
from codec.models.chunking import UNBOUNDED, refined
from codec.models.media import AudioMedia

T = TypeVar("T")
Codes = tuple[Tensor, ...]


@dataclass(frozen=True)
class EncoderState:
    """Where an encoder is: samples it still needs, and the cell of the grid that comes next."""

    samples: Tape = field(default_factory=Tape)
    cell: int = 0


@dataclass(frozen=True)
class DecoderState:
    """Where a decoder is: codes it still needs, a tape for each level, and the cell of the grid that comes next."""

    codes: tuple[Tape, ...] = ()
    cell: int = 0


@dataclass(frozen=True)
class LiveEncoder:
    """Samples to codes. Holds no state: one encoder serves any number of streams.

    Attributes:
        channels: of the stream; a model of fewer codes groups of them side by side, as rows.
    """

    model: CodecModel
    num_active: int
    channels: int

    @classmethod
    def of(cls, model: CodecModel, *, num_active: int | None = None, channels: int | None = None) -> LiveEncoder:
        """An encoder of `model`.

        Args:
            num_active: use the first codebooks only; all if None.
            channels: of the stream; the model's if None.

        Raises:
            UserError: the model codes pictures, or does not work with so many codebooks or channels.
        """
        active = max(level.num_active for level in active_levels(model, num_active))
        return cls(model, active, _channels(model, channels))

    def start(self) -> EncoderState:
        """Before the first sample."""
        return EncoderState()

    def feed(self, state: EncoderState, samples: Tensor) -> tuple[Codes, EncoderState]:
        """The codes that `samples` [channels, n] complete, and the state after them.

        Returns:
            Per level [rows, q, t]; t, in codes of the coarsest level, is a multiple of the model's chunk, often 0.

        Raises:
            UserError: samples of another shape, or that are not finite.
        """
        if samples.dim() != 2 or samples.shape[0] != self.channels or not samples.is_floating_point():
            raise WrongMediaError(
                f"a block is {samples.dtype} {tuple(samples.shape)}; this stream takes floats [{self.channels}, n]"
            )
        if not bool(samples.isfinite().all()):
            raise WrongMediaError("a block holds samples that are NaN or infinite")
        tape = state.samples.plus(samples.to(torch.float32, copy=True))
        ready, needed = _ready(self.model.encode_chunks(UNBOUNDED, first=state.cell), tape.stop)
        return self._codes(tape, ready), EncoderState(tape.since(needed), state.cell + len(ready))

    def finish(self, state: EncoderState) -> Codes:
        """The codes of what is left, per level [rows, q, t].

        Raises:
            EmptyFileError: there was not one sample.
        """
        tape = state.samples
        if not tape.stop:
            raise EmptyFileError("the stream ended before its first sample: there is nothing to encode")
        ready, _ = _ready(self.model.encode_chunks((tape.stop,), first=state.cell), tape.stop)
        return self._codes(tape, ready)

    @property
    def rows(self) -> int:
        """Signals that the model codes side by side."""
        return self.channels // self.model.media.channels

    def _codes(self, tape: Tape, chunks: Sequence[Chunk]) -> Codes:
        device, levels = self.model.histogram.device, active_levels(self.model, self.num_active)
        parts = [
            tuple(torch.empty(self.rows, level.num_active, 0, dtype=torch.int64, device=device) for level in levels)
        ]
        for chunk in chunks:
            window = tape.read(*chunk.source).unflatten(0, (self.rows, -1))
            parts.append(self.model.encode_chunk(window, chunk, num_active=self.num_active))
        return tuple(torch.cat(level, -1) for level in zip(*parts, strict=True))


@dataclass(frozen=True)
class LiveDecoder:
    """Codes to samples. Holds no state: one decoder serves any number of streams.

    Attributes:
        channels: of the stream, as for the encoder.
    """

    model: CodecModel
    channels: int

    @classmethod
    def of(cls, model: CodecModel, *, channels: int | None = None) -> LiveDecoder:
        """A decoder of `model`.

        Raises:
            UserError: the model codes pictures, or not so many channels.
        """
        return cls(model, _channels(model, channels))

    def start(self) -> DecoderState:
        """Before the first code."""
        return DecoderState()

    def feed(self, state: DecoderState, codes: Codes) -> tuple[Tensor, DecoderState]:
        """The signal [channels, n] that `codes`, per level [rows, q, t], complete, and the state after them.

        Raises:
            UserError: codes of another model, of another stream, or of levels that do not cover the same time.
        """
        check_codes(codes, self.model.levels, 1, self.model.name)
        before = state.codes or (Tape(),) * len(codes)
        extents = [codes[0].shape[-1] * ratio for _, ratio in self._with_ratio(codes)]
        if len(before) != len(codes) or [level.shape[-1] for level in codes] != extents:
            raise WrongMediaError(
                f"codes have shapes {[tuple(level.shape) for level in codes]}: give the same levels every time, all "
                "for the same stretch of time"
            )
        for tape, level in zip(before, codes, strict=True):
            books = tape.blocks[0].shape[1] if tape.blocks else level.shape[1]
            if tuple(level.shape[:2]) != (self.rows, books):
                raise WrongMediaError(
                    f"codes have shape {tuple(level.shape)}; this stream has [{self.rows}, {books}, t]"
                )
        tapes = tuple(tape.plus(level.clone()) for tape, level in zip(before, codes, strict=True))
        ready, needed = _ready(self.model.decode_chunks(UNBOUNDED, first=state.cell), tapes[0].stop)
        kept = tuple(tape.since(needed * ratio) for tape, ratio in self._with_ratio(tapes))
        return self._signal(tapes, ready), DecoderState(kept, state.cell + len(ready))

    def finish(self, state: DecoderState) -> Tensor:
        """The rest of the signal [channels, n]: it is as long as the codes reach, up to a hop more than was coded.

        Raises:
            EmptyFileError: there was not one code.
        """
        stop = state.codes[0].stop if state.codes else 0
        if not stop:
            raise EmptyFileError("the stream ended before its first code: there is nothing to decode")
        ready, _ = _ready(self.model.decode_chunks((stop * self.model.downsample_factor,), first=state.cell), stop)
        return self._signal(state.codes, ready)

    @property
    def rows(self) -> int:
        """Signals that the model codes side by side."""
        return self.channels // self.model.media.channels

    def _with_ratio(self, levels: Sequence[T]) -> Iterator[tuple[T, int]]:
        """Each of `levels`, coarse to fine, with its codes for one of the coarsest."""
        for level, grid in zip(levels, self.model.levels, strict=False):
            yield level, self.model.downsample_factor // grid.downsample_factor

    def _signal(self, tapes: tuple[Tape, ...], chunks: Sequence[Chunk]) -> Tensor:
        parts = [torch.empty(self.channels, 0, device=self.model.histogram.device)]
        for chunk in chunks:
            codes = tuple(tape.read(*refined(chunk.source, ratio)) for tape, ratio in self._with_ratio(tapes))
            parts.append(self.model.decode_chunk(codes, chunk).flatten(0, 1))
        return torch.cat(parts, -1)


def encode_batch(model: CodecModel, signals: Sequence[Tensor], *, num_active: int | None = None) -> list[Codes]:
    """Codes of recordings of unequal lengths, [channels, time] each, that are exactly those of each alone.

    Rows run one by one on every path (docs/decisions/0003), so none is padded and nothing needs a mask. A padded batch
    with `lengths` is `[row[:, :length] for row, length in zip(batch, lengths)]`.

    Returns:
        For each recording what `model.encode` gives of it: per level [1, q, t].

    Raises:
        UserError: a recording is empty or has another number of channels than the model.
    """
    return [model.encode(signal.unsqueeze(0), num_active=num_active) for signal in signals]


def sound_of(model: CodecModel) -> AudioMedia:
    """What `model` codes.

    Raises:
        WrongMediaError: pictures.
    """
    if not isinstance(model.media, AudioMedia):
        raise WrongMediaError(f"{model.name} codes pictures, which are no stream: choose a model of sound")
    return model.media


def _channels(model: CodecModel, channels: int | None) -> int:
    """The channels of a stream for `model`; its own if None."""
    media = sound_of(model)
    channels = media.channels if channels is None else channels
    if channels < 1 or channels % media.channels:
        raise WrongMediaError(f"{model.name} codes {media.channels} channels at a time: it cannot take {channels}")
    return channels


def _ready(grid: Iterator[Chunk], stop: int) -> tuple[list[Chunk], int]:
    """The chunks of `grid` whose sources end by `stop`, and where the source of the next one starts."""
    ready: list[Chunk] = []
    for chunk in grid:
        (source,) = chunk.source
        if source.stop > stop:
            return ready, source.start
        ready.append(chunk)
    return ready, stop
