"""What coding a file came to, and what a file says about itself: records that turn into JSON as they are."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from codec.files.header import AudioHeader, Header, nominal_bps
from codec.files.streams import Place, shown

Progress = Callable[[int, int], None]  # called with (chunks done, chunks in all)


@dataclass(frozen=True)
class Damage:
    """A part of a file that is lost.

    Attributes:
        chunk: its number, from 1; 0 for the plane of transparency.
        reason: what is wrong with it.
        where: the same place in words.
        start, stop: what is silent or grey, per axis: seconds, or pixels (y, x).
        affected_start, affected_stop: wider; here the neighbours were decoded without knowing the lost codes,
            so they may sound or look a little different next to it.
    """

    chunk: int
    reason: str
    where: str
    start: tuple[float, ...] = ()
    stop: tuple[float, ...] = ()
    affected_start: tuple[float, ...] = ()
    affected_stop: tuple[float, ...] = ()


@dataclass(frozen=True)
class FileReport:
    """Result of `encode_file` and `decode_file`.

    Attributes:
        prior: the coding prior that made it smaller, by name; None for none.
        bytes: of the .vqc file on disk, header and checksums included.
        duration_s, sample_rate, num_samples, channels: of the recording, or of the part of it that was decoded; None
            for a picture.
        width, height: of the picture; None for a recording.
        bitrate_bps, bits_per_pixel: from `bytes`, over the whole recording or picture.
        nominal_bps: bits per second of the codes of a recording if all were equally likely.
        elapsed_s: time taken, reading and writing included.
        real_time_factor: seconds of sound per second taken; above 1 is faster than real time.
        notes: what the caller may want to know, one line each.
        damage: what was lost; empty unless damage was to be skipped and was found.
    """

    source: str
    target: str
    media: Literal["audio", "image"]
    model: str
    fingerprint: str
    num_active: int
    bytes: int
    elapsed_s: float
    prior: str | None = None
    duration_s: float | None = None
    sample_rate: int | None = None
    num_samples: int | None = None
    channels: int | None = None
    width: int | None = None
    height: int | None = None
    bitrate_bps: float | None = None
    bits_per_pixel: float | None = None
    nominal_bps: float | None = None
    real_time_factor: float | None = None
    notes: tuple[str, ...] = ()
    damage: tuple[Damage, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class FileInfo:
    """Result of `read_info`: everything a .vqc file tells without its model.

    Attributes:
        bytes: on disk; `expected_bytes` is what its header says it should be.
        header_bytes: of it, header and table of chunks.
        levels: coarse to fine, each with downsample_factor, codebook_size, num_active.
        chunk_codes: codes of the coarsest level in a chunk, per axis; `num_chunks` chunks tile the signal.
        packed_chunks: chunks stored as plain bits because the entropy coder would have made them longer.
        predicted_chunks: chunks coded with the prior, which the file then names.
        grey, alpha, deep: of a picture: no colour, transparency, a source of 16 bits per channel.
        damage: chunks whose checksums are wrong, or that are missing.
    """

    source: str
    version: int
    media: Literal["audio", "image"]
    model: str
    fingerprint: str
    bytes: int
    expected_bytes: int
    header_bytes: int
    levels: tuple[dict[str, int], ...]
    chunk_codes: tuple[int, ...]
    num_chunks: int
    packed_chunks: int
    predicted_chunks: int = 0
    prior: str | None = None
    prior_fingerprint: str | None = None
    duration_s: float | None = None
    sample_rate: int | None = None
    num_samples: int | None = None
    channels: int | None = None
    model_rate: int | None = None
    width: int | None = None
    height: int | None = None
    grey: bool | None = None
    alpha: bool | None = None
    deep: bool | None = None
    bitrate_bps: float | None = None
    bits_per_pixel: float | None = None
    nominal_bps: float | None = None
    damage: tuple[Damage, ...] = ()

    @property
    def intact(self) -> bool:
        """Whether everything is there and undamaged."""
        return not self.damage

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "intact": self.intact}


def media_fields(header: Header, num_bytes: int) -> dict[str, Any]:
    """The fields of a report that follow from what was coded and how many bytes it took."""
    media = header.media
    if isinstance(media, AudioHeader):
        return {
            "media": "audio",
            "duration_s": media.duration_s,
            "sample_rate": media.sample_rate,
            "num_samples": media.num_samples,
            "channels": media.channels,
            "bitrate_bps": 8 * num_bytes / media.duration_s,
            "nominal_bps": nominal_bps(header.levels, media.model_rate, header.rows),
        }
    return {
        "media": "image",
        "width": media.width,
        "height": media.height,
        "bits_per_pixel": 8 * num_bytes / (media.width * media.height),
    }


def file_report(
    header: Header,
    num_bytes: int,
    *,
    source: str,
    target: Place,
    started: float,
    notes: tuple[str, ...] = (),
    damage: tuple[Damage, ...] = (),
) -> FileReport:
    """The report on a file of `header` and `num_bytes`, with what was begun at `started` (of `time.perf_counter`)."""
    elapsed, media = time.perf_counter() - started, header.media
    return FileReport(
        source=source,
        target="standard output" if target == "-" else shown(target),
        model=header.model,
        fingerprint=header.fingerprint,
        prior=header.prior.name if header.prior else None,
        num_active=header.num_active,
        bytes=num_bytes,
        elapsed_s=elapsed,
        real_time_factor=media.duration_s / elapsed if isinstance(media, AudioHeader) else None,
        notes=notes,
        damage=damage,
        **media_fields(header, num_bytes),
    )


@dataclass(frozen=True)
class CorpusReport:
    """Result of coding or decoding a folder.

    Attributes:
        num_files: to be done in all: by this run (`num_done`), by those before it (`num_kept`), or not at all.
        failures: reasons by path, relative to the folder; the list `failures_path` holds the same.
        bytes: of this run's .vqc files; `duration_s` of its recordings.
        elapsed_s: time this run took.
        num_removed, orphans: of earlier runs' files, as for `Leftovers`.
        damage: places in this run's files that were lost, a line each, where damage was to be skipped.
    """

    num_files: int
    num_done: int
    num_kept: int
    failures: dict[str, str]
    failures_path: str
    bytes: int
    duration_s: float
    elapsed_s: float
    num_removed: int = 0
    orphans: tuple[str, ...] = ()
    damage: tuple[str, ...] = ()
