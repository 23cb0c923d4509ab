"""A .vqc file becomes a recording or a picture again."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import BinaryIO, Protocol

from codec.checkpoint import list_models, load_model
from codec.files.container import Contents, read_header
from codec.files.decoder import Decoder
from codec.files.errors import TruncatedFileError, UnknownModelError, WrongMediaError
from codec.files.header import AudioHeader
from codec.files.prior import PriorChoice, prior_to_read_with
from codec.files.report import FileReport, Progress, file_report
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
    start_s: float = 0.0,
    duration_s: float | None = None,
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
        start_s, duration_s: decode that part of a recording only (None: to its end), which is exactly the slice of the
            whole; chunks that it does not depend on are not read.
        device: where to run a model that is loaded here: auto, cpu or cuda.
        progress: called with (chunks done, chunks in all).

    Raises:
        UserError: see codec.files.errors; one line that says what is wrong with which file.
    """
    refuse_overwriting(source, target)
    whole = start_s == 0.0 and duration_s is None
    with open_decoder(
        source, model, prior=prior, device=device, skip_damaged=skip_damaged, progress=progress
    ) as decoder:
        started = time.perf_counter()
        name, contents, header = decoder.name, decoder.contents, decoder.contents.header
        if whole and not skip_damaged:
            _check_whole(decoder.file, name, contents)
        written_s = None
        if isinstance(header.media, AudioHeader):
            written_s = write_recording(
                decoder, header.media, target, suffix=suffix, model_rate=model_rate, interval=(start_s, duration_s)
            )
        elif whole:
            write_picture(decoder, header.media, target, suffix=suffix)
        else:
            raise WrongMediaError(f"{name} is a picture: it has no seconds to start at")
        num_bytes = decoder.file.seek(0, os.SEEK_END)
    damage = tuple(decoder.damage[index] for index in sorted(decoder.damage))
    report = file_report(header, num_bytes, source=name, target=target, started=started, damage=damage)
    if whole or written_s is None or report.sample_rate is None:
        return report
    num_samples = round(written_s * report.sample_rate)
    speed = written_s / report.elapsed_s
    return replace(report, duration_s=written_s, num_samples=num_samples, real_time_factor=speed)


@contextmanager
def open_decoder(
    source: Place,
    model: CodecModel | str | os.PathLike[str] | None,
    *,
    prior: PriorChoice,
    device: str,
    skip_damaged: bool = False,
    progress: Progress | None = None,
) -> Iterator[Decoder]:
    """A decoder of the file `source`, with the model and the prior that wrote it; as for `decode_file`.

    Raises:
        UserError: see codec.files.errors.
    """
    with open_input(source) as file:
        name = shown(source)
        contents = read_header(file, name)
        if model is None or isinstance(model, (str, os.PathLike)):
            model = load_model(
                os.fspath(model) if model else model_of(contents.header, name),
                device=device,
            )
        coding_prior = prior_to_read_with(prior, contents.header, name)
        yield Decoder(file, name, contents, model, coding_prior, skip_damaged, progress)


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


class Coded(Protocol):
    """What names the model of its codes."""

    @property
    def model(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...


def model_of(header: Coded, name: str) -> str:
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
