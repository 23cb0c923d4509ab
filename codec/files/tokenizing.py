"""A manifest or a folder of recordings becomes shards of tokens, in several processes, resumable."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import PositiveFloat, PositiveInt

from codec.checkpoint import load_model
from codec.core.config import Config
from codec.core.errors import UserError
from codec.core.grid import Grid
from codec.data.manifest import Entry, kind_of, read_manifest
from codec.files.compress import check_rate, coded_chunks, new_header
from codec.files.corpus import cores_for
from codec.files.errors import WrongMediaError
from codec.files.header import AudioHeader, LevelHeader
from codec.files.output_folder import finish, open_folder, write_failures
from codec.files.rate import active_levels, nearest_levels
from codec.files.report import CorpusReport, Progress
from codec.files.shards import OWN_COLUMNS, SHARDS, ShardFormat, TokenRow, code_dtype, column_kind
from codec.files.sources import open_source
from codec.files.streams import open_input
from codec.files.tokens import FORMAT, INDEX_FILE, TokenIndex
from codec.files.tree import files_below
from codec.files.workers import Failed, run_tasks
from codec.models.base import CodecModel
from codec.models.media import AudioMedia

_MEASURED = {*OWN_COLUMNS, "kind", "duration_s", "width", "height"}  # what a manifest says, and the codes know better


class Tokenizing(Config):
    """How `tokenize_corpus` works.

    Attributes:
        model: by name or folder.
        num_active, bitrate_bps: as for `encode_file`.
        split: of a manifest; all if None.
        shard_size: recordings in a shard.
    """

    model: str
    num_active: PositiveInt | None = None
    bitrate_bps: PositiveFloat | None = None
    split: str | None = None
    shard_format: ShardFormat = "npz"
    shard_size: PositiveInt = 1000
    device: str = "auto"


@dataclass(frozen=True)
class _Recording:
    """Where it lies, what it is called, and what is known of it."""

    place: Path
    path: str
    columns: dict[str, Any]


def tokenize_corpus(
    source: Path, target: Path, options: Tokenizing, *, jobs: int | None = None, progress: Progress | None = None
) -> CorpusReport:
    """Write the codes of the recordings of a manifest, or of all below a folder, into shards in `target`.

    Channels are mixed down to the model's. The order is that of the manifest, or of the paths. A recording that cannot
    be tokenized has no row, and is listed in `failures.jsonl`. Run again, it makes the shards that are missing, are
    damaged, lack a row or are older than one of their recordings; their bytes are the same whichever run made them.
    `tokens.json` holds the options, and others are refused.

    Args:
        jobs, progress: as for `encode_folder`.

    Raises:
        UserError: nothing to tokenize, a model of pictures, a name that the format cannot hold, or a folder of another
            run.
    """
    started = time.perf_counter()
    model = load_model(options.model, device="cpu")
    if not isinstance(model.media, AudioMedia):
        raise WrongMediaError(f"tokens are of sound, and {model.name} codes pictures: choose a model of sound")
    SHARDS[options.shard_format].require()
    recordings = _recordings(source, target, options)
    index = _index(source, recordings, model, model.media, options)
    places = [target / index.shard(number) for number in range(index.num_shards)]
    failures: dict[str, str] = {}
    with open_folder(target, INDEX_FILE, index.model_dump(mode="json"), places) as unfinished:
        writer = _ShardWriter(target, unfinished, index, recordings)
        todo = [
            number for shard in range(index.num_shards) if not writer.is_finished(shard) for number in index.part(shard)
        ]
        num_kept = len(recordings) - len(todo)
        tasks = [recordings[number] for number in todo]
        start = functools.partial(_tokenizer, options)
        try:
            with closing(run_tasks(start, tasks, jobs=jobs or cores_for(options.device))) as answers:
                for done, (task, answer) in enumerate(answers, num_kept + 1):
                    if isinstance(answer, Failed):
                        failures[tasks[task].path] = answer.reason
                    writer.add(todo[task], None if isinstance(answer, Failed) else answer)
                    if progress:
                        progress(done, len(recordings))
        finally:
            failures_path = write_failures(target, failures)
    return CorpusReport(
        num_files=len(recordings),
        num_done=writer.num_rows,
        num_kept=num_kept,
        failures=failures,
        failures_path=str(failures_path),
        bytes=writer.num_bytes,
        duration_s=writer.duration_s,
        elapsed_s=time.perf_counter() - started,
    )


class _ShardWriter:
    """Takes rows in any order, and writes a shard as soon as all of its rows are there."""

    def __init__(self, folder: Path, unfinished: Path, index: TokenIndex, recordings: Sequence[_Recording]):
        self._folder, self._unfinished, self._index, self._recordings = folder, unfinished, index, recordings
        self._shards = SHARDS[index.shard_format]
        self._held: dict[int, dict[int, TokenRow | None]] = {}
        self.num_rows, self.num_bytes, self.duration_s = 0, 0, 0.0

    def is_finished(self, shard: int) -> bool:
        """Whether all rows are there, undamaged, and no recording is newer; one that is gone is not."""
        place, part = self._folder / self._index.shard(shard), self._index.part(shard)
        if not place.exists():
            return False
        sources = [self._recordings[number].place for number in part]
        if any(os.path.exists(source) and source.stat().st_mtime > place.stat().st_mtime for source in sources):
            return False
        try:
            return len(self._shards.read(place, self._index)) == len(part)
        except UserError:
            return False

    def add(self, number: int, row: TokenRow | None) -> None:
        """Take the row of recording `number`; None if it has none."""
        shard = number // self._index.shard_size
        held = self._held.setdefault(shard, {})
        held[number] = row
        if len(held) == len(self._index.part(shard)):
            self._write(shard, [row for _, row in sorted(self._held.pop(shard).items()) if row is not None])

    def _write(self, shard: int, rows: list[TokenRow]) -> None:
        name = self._index.shard(shard)
        self._shards.write(self._unfinished / name, rows, self._index)
        self.num_rows += len(rows)
        self.num_bytes += (self._unfinished / name).stat().st_size
        self.duration_s += sum(row.num_samples / row.sample_rate for row in rows)
        finish(self._unfinished / name, self._folder / name)


def _tokenizer(options: Tokenizing) -> Callable[[_Recording], TokenRow]:
    model = load_model(options.model, device=options.device)
    levels = _levels(model, options)

    def tokenize(recording: _Recording) -> TokenRow:
        name = str(recording.place)
        mono = model.media.channels == 1
        with open_input(name) as file, open_source(file, name, model.media, mono=mono) as signal:
            if signal.rows != 1:
                raise WrongMediaError(
                    f"{name} has more than the {model.media.channels} channels that are coded together"
                )
            media = signal.media
            assert isinstance(media, AudioHeader)
            chunks = list(coded_chunks(model, new_header(model, levels, media, rows=1), signal))
        codes = tuple(
            np.concatenate([chunk[index][0] for chunk in chunks], axis=1).astype(code_dtype(grid.codebook_size))
            for index, grid in enumerate(model.levels)
        )
        return TokenRow(recording.path, codes, media.num_samples, media.sample_rate, media.channels, recording.columns)

    return tokenize


def _recordings(source: Path, target: Path, options: Tokenizing) -> list[_Recording]:
    split = options.split
    if source.is_dir():
        if split is not None:
            raise UserError(f"{source} is a folder, which has no split {split!r}: give a manifest, or leave it out")
        names = files_below(source, lambda path: kind_of(path) == "audio", outside=target)
        found = [_Recording(source / name, name.as_posix(), {}) for name in names]
    else:
        entries = [entry for entry in read_manifest(source, split=split) if entry.kind == "audio"]
        found = [_of_entry(entry, source.parent) for entry in entries]
    if not found:
        raise UserError(f"{source} holds no recordings: nothing to tokenize")
    if options.shard_format == "parquet":
        for path in (recording.path for recording in found):
            if path.encode(errors="replace").decode() != path:
                raise UserError(f"{path!r} is no name in UTF-8, and Parquet takes no other: rename it, or choose npz")
    return found


def _of_entry(entry: Entry, folder: Path) -> _Recording:
    path = entry.path.relative_to(folder) if entry.path.is_relative_to(folder) else entry.path
    columns = entry.model_dump(mode="json", exclude=_MEASURED, exclude_none=True)
    return _Recording(entry.path, path.as_posix(), columns)


def _levels(model: CodecModel, options: Tokenizing) -> tuple[LevelHeader, ...]:
    if options.bitrate_bps is None:
        return active_levels(model, options.num_active)
    return nearest_levels(model, options.bitrate_bps)


def _index(
    source: Path, recordings: Sequence[_Recording], model: CodecModel, media: AudioMedia, options: Tokenizing
) -> TokenIndex:
    check_rate(model, options.num_active, options.bitrate_bps)
    levels = _levels(model, options)
    names = sorted({name for recording in recordings for name in recording.columns})
    if taken := [name for name in names if name.startswith("level")]:
        raise UserError(
            f"the manifest has the key {taken[0]!r}, and names of that kind are of codes: call it otherwise"
        )
    described = json.dumps([(recording.path, recording.columns) for recording in recordings], sort_keys=True)
    return TokenIndex(
        made_by="codec tokenize",
        format=FORMAT,
        source=os.path.abspath(source),
        split=options.split,
        entries=hashlib.sha256(described.encode()).hexdigest()[:16],
        model=model.name,
        fingerprint=model.fingerprint,
        sample_rate=media.sample_rate,
        frame_rate=model.frame_rate,
        num_active=max(level.num_active for level in levels),
        levels=tuple(
            Grid(
                num_codebooks=each.num_active,
                codebook_size=each.codebook_size,
                downsample_factor=each.downsample_factor,
            )
            for each in levels
        ),
        columns={name: column_kind([recording.columns.get(name) for recording in recordings]) for name in names},
        shard_format=options.shard_format,
        shard_size=options.shard_size,
        num_recordings=len(recordings),
    )
