"""A recording or a picture becomes a .vqc file, chunk by chunk, in the same memory however long it is."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from typing import BinaryIO, cast

from codec.checkpoint import load_model
from codec.core.errors import UserError
from codec.files.alpha import pack_alpha
from codec.files.container import MAX_NAME_BYTES, Stored, seal, write_header
from codec.files.header import AudioHeader, Header, LevelHeader, PriorHeader
from codec.files.payload import ChunkCoder, Method
from codec.files.prior import PriorChoice, prior_to_write_with
from codec.files.report import FileReport, Progress, media_fields
from codec.files.sources import Source, open_source
from codec.files.streams import Place, Spool, open_input, open_output, refuse_overwriting, shown
from codec.models.base import CodecModel
from codec.priors.coding import CodingPrior


def encode_file(
    source: Place,
    target: Place,
    model: CodecModel | str | os.PathLike[str],
    *,
    num_active: int | None = None,
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
        prior: what predicts the codes, for a smaller file: `auto` for the prior bundled with the model where there is
            one, `none`, a bundled name, a folder or file, or the prior itself. To decode, the same one is needed.
        mono: mix a recording's channels down to one, or turn a picture grey.
        progress: called with (chunks done, chunks in all).

    Raises:
        UserError: see codec.files.errors; one line that says what is wrong with which file.
    """
    started = time.perf_counter()
    refuse_overwriting(source, target)
    model = load_model(os.fspath(model)) if isinstance(model, (str, os.PathLike)) else model
    levels = active_levels(model, num_active)
    coding_prior = prior_to_write_with(prior, model)
    with (
        open_input(source) as file,
        open_source(file, shown(source), model.media, mono=mono) as signal,
        Spool() as spool,
        open_output(target) as out,  # before the work: a place that cannot be written is told at once
    ):
        header, chunks = _write_chunks(model, coding_prior, signal, levels, cast(BinaryIO, spool), progress)
        head = write_header(header, chunks)
        num_bytes = len(head) + spool.tell()
        spool.seek(0)
        out.write(head)
        shutil.copyfileobj(cast(BinaryIO, spool), out)
        notes = signal.notes
    elapsed = time.perf_counter() - started
    fields = media_fields(header, num_bytes)
    return FileReport(
        source=shown(source),
        target="standard output" if target == "-" else shown(target),
        model=header.model,
        fingerprint=header.fingerprint,
        prior=header.prior.name if header.prior else None,
        num_active=max(level.num_active for level in levels),
        bytes=num_bytes,
        elapsed_s=elapsed,
        real_time_factor=header.media.duration_s / elapsed if isinstance(header.media, AudioHeader) else None,
        notes=notes,
        **fields,
    )


def active_levels(model: CodecModel, num_active: int | None) -> tuple[LevelHeader, ...]:
    """The model's levels with their first `num_active` codebooks, or all.

    Raises:
        UserError: the model does not work with so many.
    """
    rates = model.rates
    if num_active is not None and num_active not in rates:
        known = f"1 to {rates[-1]}" if len(rates) == rates[-1] else ", ".join(map(str, rates))
        raise UserError(f"{num_active} codebooks were asked for; {model.name} has {known}")
    return tuple(
        LevelHeader(
            level.downsample_factor,
            level.codebook_size,
            min(level.num_codebooks, num_active or level.num_codebooks),
        )
        for level in model.levels
    )


def _write_chunks(
    model: CodecModel,
    prior: CodingPrior | None,
    signal: Source,
    levels: tuple[LevelHeader, ...],
    out: BinaryIO,
    progress: Progress | None,
) -> tuple[Header, list[Stored]]:
    """Write every sealed chunk to `out`; returns the header and the table that belong before them.

    The header names the prior only if a chunk is the shorter for it.
    """
    size = signal.media.size
    first = next(iter(model.encode_chunks(size)))
    header = Header(
        model=_short(model.name),
        fingerprint=model.fingerprint,
        media=signal.media,
        rows=signal.rows,
        levels=levels,
        step=tuple(part.stop for part in first.target),
        prior=PriorHeader(_short(prior.name), prior.fingerprint) if prior else None,
    )
    header.check()
    coder = ChunkCoder.of(model, header.num_active, prior)
    chunks: list[Stored] = []
    for chunk in model.encode_chunks(size):
        assert chunk.target == header.cell(chunk.index), "the model's grid is not uniform"
        codes = model.encode_chunk(signal.read(chunk.source), chunk, num_active=header.num_active)
        data, method = coder.encode(tuple(level.cpu().numpy() for level in codes))
        out.write(seal(chunk.index, data))
        chunks.append(Stored(len(data), method))
        if progress:
            progress(chunk.index + 1, header.num_chunks)
    assert len(chunks) == header.num_chunks
    if not any(stored.method is Method.PREDICTED for stored in chunks):
        header = replace(header, prior=None)
    if signal.alpha is not None:
        data = pack_alpha(signal.alpha)
        out.write(seal(len(chunks), data))
        chunks.append(Stored(len(data)))
    return header, chunks


def _short(name: str) -> str:
    return name.encode()[:MAX_NAME_BYTES].decode(errors="ignore")
