"""Which entries of a manifest are evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from codec.core.errors import UserError
from codec.data.manifest import Manifest, read_manifest
from codec.models.base import CodecModel


def select(
    manifest: Manifest | str | Path,
    model: CodecModel,
    *,
    split: str | Sequence[str] | None = None,
    limit: int | None = None,
) -> Manifest:
    """The entries that `model` can code.

    Args:
        split: keep only this split, or these.
        limit: at most so many, spread evenly over the manifest.

    Raises:
        UserError: there is none, or no such split.
    """
    if limit is not None and limit < 1:
        raise UserError(f"limit is {limit}; wanted 1 or more")
    if not isinstance(manifest, Manifest):
        manifest = read_manifest(manifest, split=split)
    wanted, kind = {split} if isinstance(split, str) else set(split or ()), model.media.kind
    entries = [entry for entry in manifest if entry.kind == kind and (not wanted or entry.split in wanted)]
    if not entries:
        raise UserError(f"{manifest.path} has no {kind} entries for {model.name}, which codes {kind}")
    count = min(limit or len(entries), len(entries))
    return replace(manifest, entries=tuple(entries[index * len(entries) // count] for index in range(count)))


def check_seconds(model: CodecModel, seconds: float | None) -> None:
    """Raise UserError where pictures, or nothing at all, would be cut to their first `seconds`."""
    if seconds is None:
        return
    if model.media.kind != "audio":
        raise UserError(f"{model.name} codes pictures, which have no first {seconds:g} s: leave --seconds out")
    if seconds <= 0:
        raise UserError(f"the first {seconds:g} s of a recording are nothing; wanted more than 0")
