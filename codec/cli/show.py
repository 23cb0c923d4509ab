"""What the verbs say: results as one line each, and progress for a person at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from codec.core.wording import counted

if TYPE_CHECKING:
    from codec.files import FileInfo, FileReport


class Draw(Protocol):
    """Told how much is done, of how much if that is known, and of what if not of what the bar was made for."""

    def __call__(self, done: int, total: int | None = None, /, *, label: str | None = None) -> None: ...


@contextmanager
def progress_bar(label: str) -> Iterator[Draw | None]:
    """Yield a callback that draws a bar on stderr; None where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        own, shown, task = label, label, bar.add_task(label, total=None)

        def draw(done: int, total: int | None = None, /, *, label: str | None = None) -> None:
            nonlocal shown, task
            if (label or own) != shown:  # a bar of its own: another total, another speed
                bar.remove_task(task)
                shown = label or own
                task = bar.add_task(shown, total=None)
            bar.update(task, completed=done, total=total)

        yield draw


def say(line: str) -> None:
    """Tell a person something beside the result: on stderr, so that pipes stay clean."""
    print(line, file=sys.stderr)


def report_lines(report: FileReport) -> Iterator[str]:
    """What coding a file came to: one line, then one for each note and each piece of damage."""
    speed = f", {report.real_time_factor:.3g} x real time" if report.real_time_factor else ""
    took = f"{report.elapsed_s:.2f} s{speed}"
    yield f"{report.source} -> {report.target}: {content(report)}, {rate(report)}, {took}"
    yield from report.notes
    for damage in report.damage:
        yield f"damaged: {damage.where}: {damage.reason}"


def info_lines(info: FileInfo) -> Iterator[str]:
    """A .vqc file in words."""
    levels = "; ".join(
        f"{level['num_active']} of {level['codebook_size']} codes, factor {level['downsample_factor']}"
        for level in info.levels
    )
    yield f"file      {info.source} (.vqc version {info.version})"
    yield f"model     {info.model}, fingerprint {info.fingerprint}"
    if info.prior is not None:
        yield f"prior     {info.prior}, fingerprint {info.prior_fingerprint}"
    yield f"content   {', '.join([content(info), *_traits(info)])}"
    yield f"size      {rate(info)}; {info.header_bytes} bytes of header, {counted(info.num_chunks, 'chunk')}"
    yield f"codebooks {levels}"
    for damage in info.damage:
        yield f"damaged   {damage.where}: {damage.reason}"
    if info.intact:
        yield "intact    every checksum agrees"


def _traits(info: FileInfo) -> Iterator[str]:
    """What the picture is besides its size."""
    if info.grey:
        yield "grey"
    if info.alpha:
        yield "with transparency"
    if info.deep:
        yield "from 16 bits per channel"


def content(found: FileReport | FileInfo) -> str:
    """The recording or picture in words."""
    if found.media == "image":
        return f"{found.width} x {found.height} pixels"
    return f"{found.duration_s:.2f} s, {found.sample_rate} Hz, {counted(found.channels or 0, 'channel')}"


def rate(found: FileReport | FileInfo) -> str:
    """Bytes on disk, and what they come to per second or per pixel."""
    if found.media == "image":
        return f"{found.bytes} bytes, {found.bits_per_pixel:.3f} bits per pixel"
    return f"{found.bytes} bytes, {(found.bitrate_bps or 0) / 1000:.2f} kbit/s"
