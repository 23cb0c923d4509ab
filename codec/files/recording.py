"""Sound that comes in block by block into a .vqc file, and out of one again in blocks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator

from torch import Tensor

from codec.files.chunk_spool import chunk_spool
from codec.files.compress import new_header
from codec.files.decompress import open_decoder
from codec.files.errors import WrongMediaError
from codec.files.header import AudioHeader
from codec.files.live import LiveEncoder, sound_of
from codec.files.payload import ChunkCoder, Codes
from codec.files.prior import PriorChoice, prior_to_write_with
from codec.files.rate import active_levels
from codec.files.report import FileReport, file_report
from codec.files.sinks import as_channels, samples_of
from codec.files.streams import Place, open_output
from codec.models.base import CodecModel


def record(
    blocks: Iterable[Tensor],
    target: Place,
    model: CodecModel,
    *,
    num_active: int | None = None,
    channels: int | None = None,
    prior: PriorChoice = "auto",
) -> FileReport:
    """Code `blocks` [channels, n] of sound at the model's rate, of any lengths, into a .vqc file: in constant memory.

    The file is, byte for byte, that of `encode_file` for the same sound. It appears when the blocks end.

    Args:
        target: a path, `-` for standard output, or an open binary file.
        num_active: use only the first codebooks: fewer bits. All if None.
        channels: of the blocks; the model's if None.
        prior: as for `encode_file`.

    Raises:
        UserError: blocks of another shape, not finite, or none; or as `encode_file`.
    """
    started = time.perf_counter()
    encoder = LiveEncoder.of(model, num_active=num_active, channels=channels)
    coding_prior = prior_to_write_with(prior, model)
    coder = ChunkCoder.of(model, encoder.num_active, coding_prior)
    state = encoder.start()
    with open_output(target) as out, chunk_spool() as spool:
        for block in blocks:
            codes, state = encoder.feed(state, block)
            for cell in _cells(codes, model):
                spool.add(*coder.encode(cell))
        for cell in _cells(encoder.finish(state), model):
            spool.add(*coder.encode(cell))
        rate, levels = sound_of(model).sample_rate, active_levels(model, encoder.num_active)
        media = AudioHeader(rate, state.samples.stop, encoder.channels, rate)
        header, num_bytes = spool.write(new_header(model, levels, media, encoder.rows, coding_prior), out)
    return file_report(header, num_bytes, source="a stream", target=target, started=started)


def replay(
    source: Place,
    model: CodecModel | str | os.PathLike[str] | None = None,
    *,
    prior: PriorChoice = "auto",
    start_s: float = 0.0,
    duration_s: float | None = None,
    device: str = "auto",
) -> Iterator[Tensor]:
    """Blocks [channels, n] of the sound in a .vqc file, at the model's rate, decoded as they are asked for.

    Args:
        source, model, prior, device: as for `decode_file`.
        start_s, duration_s: that part only (None: to the end), exactly the slice of the whole; chunks that it does not
            depend on are not read.

    Raises:
        UserError: as `decode_file`, from the first block on.
    """
    with open_decoder(source, model, prior=prior, device=device) as decoder:
        media = decoder.contents.header.media
        if not isinstance(media, AudioHeader):
            raise WrongMediaError(f"{decoder.name} is a picture, which is no stream: use decode_file")
        part = samples_of((start_s, duration_s), media.model_rate, media.coded_samples, decoder.name)
        for signal in decoder.stretch(part):
            yield as_channels(signal, media.channels)


def _cells(codes: tuple[Tensor, ...], model: CodecModel) -> Iterator[Codes]:
    """The `codes` of some cells of the grid, cell by cell."""
    if not codes[0].shape[-1]:
        return
    cell = model.config.chunk * model.downsample_factor
    parts = [
        level.cpu().split(cell // grid.downsample_factor, -1) for level, grid in zip(codes, model.levels, strict=True)
    ]
    for levels in zip(*parts, strict=True):
        yield tuple(level.numpy() for level in levels)
