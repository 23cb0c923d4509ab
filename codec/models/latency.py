"""How long a sound has to be waited for."""

from __future__ import annotations

from dataclasses import dataclass

from codec.core.errors import UserError
from codec.core.overlap import Span
from codec.models.base import CodecModel
from codec.models.chunking import UNBOUNDED
from codec.models.media import AudioMedia


@dataclass(frozen=True)
class Latency:
    """Delays of a model of sound, in samples at its rate; divided by `sample_rate` they are seconds.

    Attributes:
        algorithmic: a decoded sample depends on no sample that lies so far after it, or farther: what the layers look
            ahead, and the hop that shares a code. It does not depend on `chunk`, and no stream can wait for less.
        encoder: of a live encoder: the codes of a sample are there, at the latest, with the sample so far after it.
        decoder: of a live decoder: a sample is there, at the latest, with the codes of the samples so far after it.
        total: of both in a row, codes passed on as they come: at least `algorithmic`, at most `encoder + decoder`.
    """

    algorithmic: int
    encoder: int
    decoder: int
    total: int
    sample_rate: int


def latency(model: CodecModel) -> Latency:
    """The delays of `model`, from its receptive fields and its `chunk`.

    A live encoder and decoder work cell by cell: those of `encoder`, `decoder` and `total` are what the first sample of
    a cell waits, its cell included; the last waits least.

    Raises:
        UserError: it codes pictures.
    """
    if not isinstance(model.media, AudioMedia):
        raise UserError(f"{model.name} codes pictures, which have no latency")
    cells = range(model._alignment)  # after so many, everything repeats
    return Latency(
        algorithmic=_algorithmic(model),
        encoder=max(_encoded_at(model, cell) - _start(model, cell) for cell in cells),
        decoder=max(_decoded_at(model, cell) * model.downsample_factor - _start(model, cell) for cell in cells),
        total=max(_heard_at(model, cell) - _start(model, cell) for cell in cells),
        sample_rate=model.media.sample_rate,
    )


def _algorithmic(model: CodecModel) -> int:
    ahead = 0
    for position in range(model._alignment * model.downsample_factor):
        codes = model._decoder_span(Span(position, position + 1)).stop
        ahead = max(ahead, model._encoder_span(Span(codes - 1, codes)).stop - position)
    return ahead


def _start(model: CodecModel, cell: int) -> int:
    return cell * model.config.chunk * model.downsample_factor


def _encoded_at(model: CodecModel, cell: int) -> int:
    """Samples that the codes of `cell` wait for, from the start of the stream."""
    return next(model.encode_chunks(UNBOUNDED, first=cell)).source[0].stop


def _decoded_at(model: CodecModel, cell: int) -> int:
    """Codes that the samples of `cell` wait for."""
    return next(model.decode_chunks(UNBOUNDED, first=cell)).source[0].stop


def _heard_at(model: CodecModel, cell: int) -> int:
    """Samples that the decoded samples of `cell` wait for."""
    last = (_decoded_at(model, cell) - 1) // model.config.chunk
    return _encoded_at(model, last)
