"""Parts of .vqc files put together on the borders of chunks: bytes are moved, nothing is decoded or coded again."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import BinaryIO

from codec.checkpoint import load_model
from codec.files.chunk_spool import chunk_spool
from codec.files.container import Contents, read_chunk, read_header
from codec.files.decompress import model_of
from codec.files.errors import DamagedChunkError, SpliceError, TruncatedFileError, WrongMediaError
from codec.files.header import AudioHeader, Header
from codec.files.report import FileReport, file_report
from codec.files.streams import Place, open_input, open_output, refuse_overwriting, shown
from codec.models.base import CodecModel
from codec.models.chunking import UNBOUNDED


@dataclass(frozen=True)
class _Part:
    """Chunks of one file, and the sound in them."""

    file: BinaryIO
    name: str
    contents: Contents
    chunks: range
    media: AudioHeader


def slice_file(source: Place, target: Place, *, start_s: float = 0.0, stop_s: float | None = None) -> FileReport:
    """Copy the chunks of a recording from `start_s` to `stop_s` (None: its end) into a file of their own.

    Both move to the nearest border of a chunk, which the report's `notes` say. Chunks outside are not read.

    Args:
        source: a path, `-` for standard input, or an open binary file.
        target: likewise, `-` for standard output.

    Raises:
        UserError: a picture, a damaged chunk, or no border between start and stop.
    """
    started = time.perf_counter()
    refuse_overwriting(source, target)
    with open_input(source) as file:
        name = shown(source)
        contents, media = _sound(file, name)
        header = contents.header
        if not (0 <= start_s < media.duration_s and (stop_s is None or start_s < stop_s)):
            asked = f"{start_s:g} s to {'the end' if stop_s is None else f'{stop_s:g} s'}"
            raise SpliceError(f"{name} has {media.duration_s:.2f} s: there is nothing from {asked}")
        borders = [_border(header, index) / media.sample_rate for index in range(header.num_chunks + 1)]
        end_s = media.duration_s if stop_s is None else min(stop_s, media.duration_s)
        first, last = _nearest(borders, start_s), _nearest(borders, end_s)
        if first == last:
            width = header.step[0] * header.factor / media.model_rate
            raise SpliceError(
                f"{name} can be cut every {width:g} s, and from {start_s:g} s to {end_s:g} s is no whole chunk: "
                "cut it more widely, or decode that part"
            )
        num_samples = _border(header, last) - _border(header, first)
        part = _Part(file, name, contents, range(first, last), replace(media, num_samples=num_samples))
        notes = tuple(
            f"{edge} moved from {wanted:g} s to the border at {borders[index]:.6g} s"
            for edge, wanted, index in (("start", start_s, first), ("stop", stop_s, last))
            if wanted is not None and abs(min(wanted, media.duration_s) - borders[index]) * media.sample_rate >= 1
        )
        return _write([part], target, step=header.step[0], source=name, notes=notes, started=started)


def concat_files(
    sources: Sequence[Place], target: Place, model: CodecModel | str | os.PathLike[str] | None = None
) -> FileReport:
    """Put recordings one after the other into one file.

    All but the last must end on the border of a chunk, as slices do. At a seam the decoder's context comes from the
    other file, so the sound there is not exactly that of the two decoded alone.

    Args:
        sources: paths or open binary files, of one model, prior, number of codebooks, sample rate and channels.
        target: a path, `-` for standard output, or an open binary file.
        model: the model that wrote them, or what `codec.load` takes; None finds a bundled one by name. It is asked for
            the length of a chunk only if no file has more than one.

    Raises:
        UserError: files that do not fit together; says which, and why.
    """
    started = time.perf_counter()
    if not sources:
        raise SpliceError("no files to put together were given")
    for source in sources:
        refuse_overwriting(source, target)
    with ExitStack() as stack:
        parts = []
        for source in sources:
            file, name = stack.enter_context(open_input(source)), shown(source)
            contents, media = _sound(file, name)
            parts.append(_Part(file, name, contents, range(contents.header.num_chunks), media))
        for part in parts[1:]:
            _check_alike(parts[0], part)
        step = _step(parts, model)
        for part in parts[:-1]:
            _check_border(part, step)
        title = f"{len(parts)} files"
        return _write(parts, target, step=step, source=title, notes=(), started=started)


def _write(
    parts: Sequence[_Part], target: Place, *, step: int, source: str, notes: tuple[str, ...], started: float
) -> FileReport:
    priors = [part.contents.header.prior for part in parts]
    first, media = parts[0].contents.header, parts[0].media
    num_codes = sum(_num_codes(part) for part in parts)
    num_samples = _fitting(sum(part.media.num_samples for part in parts), num_codes, first, media)
    header = replace(
        first,
        media=replace(media, num_samples=num_samples),
        step=(min(step, num_codes),),
        prior=next((prior for prior in priors if prior), None),
    )
    with open_output(target) as out, chunk_spool() as spool:
        for part in parts:
            for index in part.chunks:
                spool.add(_read(part, index), part.contents.chunks[index].method)
        header, num_bytes = spool.write(header, out)
    return file_report(header, num_bytes, source=source, target=target, started=started, notes=notes)


def _sound(file: BinaryIO, name: str) -> tuple[Contents, AudioHeader]:
    contents = read_header(file, name)
    if not isinstance(contents.header.media, AudioHeader):
        raise WrongMediaError(f"{name} is a picture: only recordings can be cut and put together")
    return contents, contents.header.media


def _read(part: _Part, index: int) -> bytes:
    try:
        return read_chunk(part.file, part.contents, index)
    except TruncatedFileError as error:
        raise TruncatedFileError(f"{part.name}: {part.contents.header.where(index)} is missing: {error}") from None
    except ValueError as error:
        raise DamagedChunkError(f"{part.name}: {part.contents.header.where(index)} is damaged: {error}") from None


def _border(header: Header, index: int) -> int:
    """Samples of the recording before chunk `index`; before the end if there is no such chunk."""
    media = header.media
    assert isinstance(media, AudioHeader)
    if index == header.num_chunks:
        return media.num_samples
    return index * header.step[0] * header.factor * media.sample_rate // media.model_rate


def _nearest(borders: Sequence[float], wanted: float) -> int:
    return min(range(len(borders)), key=lambda index: abs(borders[index] - wanted))


def _num_codes(part: _Part) -> int:
    """Of the coarsest level."""
    cells = [part.contents.header.cell(index)[0] for index in (part.chunks[0], part.chunks[-1])]
    return cells[-1].stop - cells[0].start


def _fitting(num_samples: int, num_codes: int, header: Header, media: AudioHeader) -> int:
    """`num_samples` of the recording, or the nearest number of them that takes `num_codes`.

    Where borders lie between two samples of the recording, rounding may have made it one too many or too few.
    """

    def first_beyond(coded: int) -> int:
        return -(-(2 * coded + 1) * media.sample_rate // (2 * media.model_rate))

    least, most = first_beyond((num_codes - 1) * header.factor), first_beyond(num_codes * header.factor) - 1
    return min(max(num_samples, least), most)


def _check_alike(first: _Part, other: _Part) -> None:
    ours, theirs = first.contents.header, other.contents.header
    facts = {
        "model": lambda part: f"{part.contents.header.model!r} ({part.contents.header.fingerprint})",
        "number of codebooks": lambda part: part.contents.header.num_active,
        "levels": lambda part: part.contents.header.levels,
        "sample rate": lambda part: f"{part.media.sample_rate} Hz",
        "rate of the model": lambda part: f"{part.media.model_rate} Hz",
        "number of channels": lambda part: part.media.channels,
        "number of rows": lambda part: part.contents.header.rows,
    }
    for what, fact in facts.items():
        if fact(first) != fact(other):
            raise SpliceError(
                f"{other.name} does not fit {first.name}: its {what} is {fact(other)}, not {fact(first)}: "
                "decode it and encode it likewise"
            )
    if ours.prior and theirs.prior and ours.prior != theirs.prior:
        raise SpliceError(
            f"{other.name} does not fit {first.name}: its prior is {theirs.prior.name!r} ({theirs.prior.fingerprint}), "
            f"not {ours.prior.name!r} ({ours.prior.fingerprint}): decode it and encode it likewise"
        )


def _step(parts: Sequence[_Part], model: CodecModel | str | os.PathLike[str] | None) -> int:
    """Codes of the coarsest level in a chunk that is not the last one of its file."""
    step = next((part.contents.header.step[0] for part in parts if part.contents.header.num_chunks > 1), None)
    if step is None and len(parts) > 1:
        if model is None or isinstance(model, (str, os.PathLike)):
            model = load_model(os.fspath(model) if model else model_of(parts[0].contents.header, parts[0].name))
        step = next(model.encode_chunks(UNBOUNDED)).target[0].stop
    step = step or parts[0].contents.header.step[0]
    for part in parts:
        its = part.contents.header.step[0]
        if its != min(step, part.contents.header.codes_size[0]):
            raise SpliceError(f"{part.name} was cut into chunks of {its} codes, not {step}: it does not fit")
    return step


def _check_border(part: _Part, step: int) -> None:
    """Refuse a part that ends inside a chunk of `step` codes: what follows it could not start one."""
    header, media = part.contents.header, part.media
    codes = header.codes_size[0]
    border = codes * header.factor * media.sample_rate // media.model_rate
    if codes % step == 0 and media.num_samples >= border:
        return
    width = step * header.factor / media.model_rate
    last = codes // step * width if codes % step else (codes // step - 1) * width
    way_out = f"slice it to {last:g} s first, or put it last" if last else "put it last, or decode and encode it"
    raise SpliceError(
        f"{part.name} has {media.duration_s:.6g} s and chunks of {width:g} s: it does not end on a border; {way_out}"
    )
