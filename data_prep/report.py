"""What a preparation leaves behind: the manifest, the list of skipped files, and a summary of both."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Protocol

from codec.core.atomic import atomic_write_bytes
from codec.core.errors import UserError
from codec.core.wording import counted
from codec.data.manifest import Entry, write_manifest

from .screening import Candidate, Limits, Skipped, screen


class Progress(Protocol):
    """Called with the files looked at so far; under a `label`, with megabytes of a download and, if known, of all."""

    def __call__(self, done: int, total: int | None = None, /, *, label: str | None = None) -> None: ...


_WINDOW = 1024


@dataclass(frozen=True)
class PrepReport:
    """`written` entries in `manifest`; `skipped` lists (path, reason), also in `manifest`'s .skipped.jsonl.

    `splits` counts the entries of each split, `told` those that have a speaker and a transcript.
    """

    written: int
    skipped: list[Skipped]
    manifest: Path
    splits: dict[str, int] = field(default_factory=dict)
    told: dict[str, int] = field(default_factory=dict)

    @property
    def skipped_list(self) -> Path:
        return skipped_path(self.manifest)


def manifest_path(out: Path) -> Path:
    """Where the manifest goes: `out` itself when it ends in .jsonl, else `manifest.jsonl` in the folder `out`."""
    return out if out.suffix == ".jsonl" else out / "manifest.jsonl"


def skipped_path(manifest: Path) -> Path:
    """Where the skipped files of a manifest are listed: a.jsonl -> a.skipped.jsonl."""
    return manifest.with_suffix(".skipped.jsonl")


def write_corpus(
    candidates: Iterable[Candidate | Skipped],
    out: Path,
    *,
    limits: Limits | None = None,
    workers: int = 4,
    progress: Progress | None = None,
) -> PrepReport:
    """Decode every candidate once, write those that are sound to the manifest, list the others and what was skipped.

    Raises:
        UserError: nothing was found, or nothing sound; then the list of skipped files is written all the same.
    """
    manifest = manifest_path(out)
    skipped: list[Skipped] = []
    splits: dict[str, int] = {}
    told = {"speaker": 0, "transcript": 0}

    def sound() -> Iterator[Entry]:
        for seen, result in enumerate(_screen_all(candidates, limits or Limits(), workers), start=1):
            if isinstance(result, Entry):
                splits[result.split] = splits.get(result.split, 0) + 1
                for key in told:
                    told[key] += bool(getattr(result, key, None))
                yield result
            else:
                skipped.append(result)
            if progress is not None:
                progress(seen)

    entries = sound()
    first = list(islice(entries, 1))  # a manifest without entries is no manifest
    written = write_manifest(manifest, chain(first, entries)) if first else 0
    if not (written or skipped):
        raise UserError("no files were found: is SOURCE the right folder?")
    lines = [json.dumps({"path": str(path), "reason": reason}, ensure_ascii=False) for path, reason in skipped]
    # A name that is not UTF-8 becomes \\udcXX, which JSON reads back as the same name.
    text = "".join(line + "\n" for line in lines).encode(errors="backslashreplace")
    atomic_write_bytes(skipped_path(manifest), text)
    if not written:
        raise UserError(f"nothing is left, {counted(len(skipped), 'file')} skipped: see {skipped_path(manifest)}")
    return PrepReport(written, skipped, manifest, splits, told)


def _screen_all(candidates: Iterable[Candidate | Skipped], limits: Limits, workers: int) -> Iterator[Entry | Skipped]:
    """Results in the order of the candidates, a window at a time, so that a million files need no queue."""
    remaining = iter(candidates)
    with ThreadPoolExecutor(workers, thread_name_prefix="screen") as pool:
        while window := list(islice(remaining, _WINDOW)):
            yield from pool.map(lambda found: found if isinstance(found, Skipped) else screen(found, limits), window)
