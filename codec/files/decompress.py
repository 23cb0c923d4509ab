"""A .vqc file becomes a recording or a picture again."""

from __future__ import annotations

import os
import time
from typing import BinaryIO

from codec.checkpoint import list_models, load_model
from codec.files.container import Contents, read_header
from codec.files.decoder import Decoder
from codec.files.errors import TruncatedFileError, UnknownModelError
from codec.files.header import AudioHeader, Header
from codec.files.prior import PriorChoice, prior_to_read_with
from codec.files.report import FileReport, Progress, media_fields
from codec.files.sinks import write_picture, write_recording
from codec.files.streams import Place, open_input, refuse_overwriting, shown
from codec.models.base import CodecModel


def decode_file(
    source: Place,
    target: Place,
    model: CodecModel | str | os.PathLike[str] | None = None,
    *,
    prior: PriorChoice = "auto",
    skip_damaged: bool = False,
    model_rate: bool = False,
    suffix: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> FileReport:
    """Decode a .vqc file into a recording of the original's rate and exact length, or a picture of its size.

    Output that cannot be finished leaves nothing behind.

    Args:
        source: a path, `-` for standard input, or an open binary file; a pipe is spooled first.
        target: a path whose suffix is the format, `-` for standard output, or an open binary file.
        model: the model that wrote the file, or what `codec.load` takes; None finds a bundled one by name.
        prior: the prior the file was coded with, its folder or file; `auto` finds a bundled one by name. A file that
            was coded without needs none.
        skip_damaged: where a chunk is damaged or missing, give silence or mid-grey, and say so in the report.
        model_rate: leave a recording at the model's sample rate.
        suffix: format such as ".flac" or ".jpg" when the target does not tell; .wav or .png for a pipe.
        device: where to run a model that is loaded here: auto, cpu or cuda.
        progress: called with (chunks done, chunks in all).

    Raises:
        UserError: see codec.files.errors; one line that says what is wrong with which file.
    """
    started = time.perf_counter()
    refuse_overwriting(source, target)
    with open_input(source) as file:
        name = shown(source)
        contents = read_header(file, name)
        header = contents.header
        if not skip_damaged:
            _check_whole(file, name, contents)
        if model is None or isinstance(model, (str, os.PathLike)):
            model = load_model(os.fspath(model) if model else _model_of(header, name), device=device)
        coding_prior = prior_to_read_with(prior, header, name)
        decoder = Decoder(file, name, contents, model, coding_prior, skip_damaged, progress)
        if isinstance(header.media, AudioHeader):
            write_recording(decoder, header.media, target, suffix=suffix, model_rate=model_rate)
        else:
            write_picture(decoder, header.media, target, suffix=suffix)
        num_bytes = file.seek(0, os.SEEK_END)
    elapsed = time.perf_counter() - started
    return FileReport(
        source=name,
        target="standard output" if target == "-" else shown(target),
        model=header.model,
        fingerprint=header.fingerprint,
        prior=header.prior.name if header.prior else None,
        num_active=header.num_active,
        bytes=num_bytes,
        elapsed_s=elapsed,
        real_time_factor=header.media.duration_s / elapsed if isinstance(header.media, AudioHeader) else None,
        damage=tuple(decoder.damage[index] for index in sorted(decoder.damage)),
        **media_fields(header, num_bytes),
    )


def _check_whole(file: BinaryIO, name: str, contents: Contents) -> None:
    num_bytes = file.seek(0, os.SEEK_END)
    if num_bytes >= contents.total_bytes:
        return
    first = next(
        index
        for index, (offset, stored) in enumerate(zip(contents.offsets, contents.chunks, strict=True))
        if offset + stored.length + 4 > num_bytes
    )
    raise TruncatedFileError(
        f"{name} is cut short: it has {num_bytes} of {contents.total_bytes} bytes and ends in "
        f"{contents.header.where(first)}; "
        "--skip-damaged recovers what is there"
    )


def _model_of(header: Header, name: str) -> str:
    """The bundled model that wrote the file; a name out of a file is never used as a path."""
    cards = list_models()
    for card in cards:
        if card.name == header.model:
            return card.name
    known = ", ".join(card.name for card in cards) or "none"
    raise UnknownModelError(
        f"{name} was written by model {header.model!r} (fingerprint {header.fingerprint}), which is not "
        f"bundled ({known}): give its folder with --model"
    )
