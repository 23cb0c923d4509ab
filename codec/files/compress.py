"""A recording or a picture becomes a .vqc file, chunk by chunk, in the same memory however long it is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import BinaryIO

from codec.checkpoint import load_model
from codec.core.device import one_core_left
from codec.core.errors import UserError
from codec.core.wording import counted
from codec.files.alpha import pack_alpha
from codec.files.chunk_spool import chunk_spool
from codec.files.container import MAX_NAME_BYTES
from codec.files.header import AudioHeader, Header, LevelHeader, PictureHeader, PriorHeader
from codec.files.method import Method
from codec.files.payload import ChunkCoder
from codec.files.prior import PriorChoice, prior_to_write_with
from codec.files.rate import active_levels, expected_bps, nearest_levels
from codec.files.report import FileReport, Progress, file_report
from codec.files.sources import Source, open_source
from codec.files.streams import Place, open_input, open_output, refuse_overwriting, shown
from codec.models.base import CodecModel
from codec.priors.coding import Codes, CodingPrior


def encode_file(
    source: Place,
    target: Place,
    model: CodecModel | str | os.PathLike[str],
    *,
    num_active: int | None = None,
    bitrate_bps: float | None = None,
    prior: PriorChoice = "auto",
    mono: bool = False,
    progress: Progress | None = None,
) -> FileReport:
    """Code a recording or a picture into a .vqc file.

    The codes are exactly those of `model.encode` on the whole signal (each channel of a recording a signal of
    its own, when the model codes one channel). Output that cannot be finished leaves nothing behind.

    Args:
        source: a path, `-` for standard input, or an open binary file; a pipe is spooled first.
        target: a path, `-` for standard output, or an open binary file.
        model: a model, or what `codec.load` takes.
        num_active: use only the first codebooks of each level: fewer bits. All if None.
        bitrate_bps: instead of `num_active`, the bits per second that a recording, with all its channels, should take:
            the nearest rate that the model has, by how common its codes were and what the prior took of that.
        prior: what predicts the codes, for a smaller file: `auto` for the prior bundled with the model where there is
            one, `none`, a bundled name, a folder or file, or the prior itself. To decode, the same one is needed.
        mono: mix a recording's channels down to one, or turn a picture grey.
        progress: called with (chunks done, chunks in all).

    Raises:
        UserError: see codec.files.errors; one line that says what is wrong with which file.
    """
    refuse_overwriting(source, target)
    model = load_model(os.fspath(model)) if isinstance(model, (str, os.PathLike)) else model
    check_rate(model, num_active, bitrate_bps)
    coding_prior = prior_to_write_with(prior, model)
    with (
        open_input(source) as file,
        open_source(file, shown(source), model.media, mono=mono) as signal,
        open_output(target) as out,  # before the work: a place that cannot be written is told at once
    ):
        started = time.perf_counter()
        levels, notes = active_levels(model, num_active), signal.notes
        if bitrate_bps is not None and isinstance(signal.media, AudioHeader):
            levels = nearest_levels(model, bitrate_bps, signal.rows, coding_prior)
            notes += (_chosen(bitrate_bps, levels, expected_bps(model, levels, signal.rows, coding_prior)),)
        header = new_header(model, levels, signal.media, signal.rows, coding_prior)
        coder = ChunkCoder.of(model, header.num_active, coding_prior)
        sealed_alpha = None if signal.alpha is None else pack_alpha(signal.alpha)
        chunks = coded_chunks(model, header, signal)
        with one_core_left() if coding_prior and header.num_chunks > 1 else nullcontext():
            header, num_bytes = write_file(out, header, chunks, coder, alpha=sealed_alpha, progress=progress)
    if coding_prior and not header.prior and prior != "auto":
        notes += (f"prior {coding_prior.name!r} made no chunk smaller: the file was coded without it",)
    return file_report(header, num_bytes, source=shown(source), target=target, started=started, notes=notes)


def check_rate(model: CodecModel, num_active: int | None, bitrate_bps: float | None) -> None:
    """Refuse a rate that the model cannot have.

    Raises:
        UserError: it does not work with so many codebooks, codes no sound, or is told both.
    """
    if num_active is not None and bitrate_bps is not None:
        raise UserError("a bitrate and a number of active codebooks were given: either says the rate, leave one out")
    active_levels(model, num_active)
    if bitrate_bps is not None:
        nearest_levels(model, bitrate_bps)


def new_header(
    model: CodecModel,
    levels: tuple[LevelHeader, ...],
    media: AudioHeader | PictureHeader,
    rows: int,
    prior: CodingPrior | None = None,
) -> Header:
    """The header of what `model` codes, `rows` signals of `media` side by side, before it is known if `prior` helps."""
    first = next(iter(model.encode_chunks(media.size)))
    header = Header(
        model=_short(model.name),
        fingerprint=model.fingerprint,
        media=media,
        rows=rows,
        levels=levels,
        step=tuple(part.stop for part in first.target),
        prior=PriorHeader(_short(prior.name), prior.fingerprint) if prior else None,
    )
    header.check()
    return header


def coded_chunks(model: CodecModel, header: Header, signal: Source) -> Iterator[Codes]:
    """The codes of every chunk of `signal`, in order."""
    for chunk in model.encode_chunks(header.size):
        assert chunk.target == header.cell(chunk.index), "the model's grid is not uniform"
        codes = model.encode_chunk(signal.read(chunk.source), chunk, num_active=header.num_active)
        yield tuple(level.cpu().numpy() for level in codes)


def write_file(
    out: BinaryIO,
    header: Header,
    chunks: Iterable[Codes],
    coder: ChunkCoder,
    *,
    alpha: bytes | None = None,
    progress: Progress | None = None,
) -> tuple[Header, int]:
    """Write a .vqc file of the codes `chunks`; returns its header and its bytes.

    While a chunk becomes bytes, in a thread of its own, the next becomes codes. The header that is written names the
    prior only if a chunk is the shorter for it.

    Args:
        alpha: the plane of transparency, as `pack_alpha` gives it.
    """
    with chunk_spool() as spool, ThreadPoolExecutor(1, thread_name_prefix="coder") as pool:

        def add(coded: Future[tuple[bytes, Method]]) -> None:
            spool.add(*coded.result())
            if progress:
                progress(len(spool.chunks), header.num_chunks)

        coding: Future[tuple[bytes, Method]] | None = None
        for codes in chunks:
            if coding:
                add(coding)
            coding = pool.submit(coder.encode, codes)
        if coding:
            add(coding)
        assert len(spool.chunks) == header.num_chunks
        if alpha is not None:
            spool.add(alpha, Method.COUNTED)
        return spool.write(header, out)


def _chosen(bitrate_bps: float, levels: tuple[LevelHeader, ...], expected: float) -> str:
    books = counted(max(level.num_active for level in levels), "codebook")
    return f"nearest to {bitrate_bps / 1000:g} kbit/s: {books}, expected {expected / 1000:.2f} kbit/s"


def _short(name: str) -> str:
    return name.encode()[:MAX_NAME_BYTES].decode(errors="ignore")
