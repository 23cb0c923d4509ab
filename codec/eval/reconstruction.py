"""Rate and distortion of a model over a corpus, through real files on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from codec.core.errors import UserError
from codec.data.manifest import Entry, Manifest, read_manifest
from codec.eval.codes import CodeCounter
from codec.eval.interval import mean_interval
from codec.eval.items import Item, code_item, rival_items, warm_up
from codec.eval.machine import machine_facts
from codec.models.vqvae import VQVAE


def evaluate(
    model: VQVAE,
    manifest: Manifest | str | Path,
    *,
    split: str | Sequence[str] | None = None,
    num_active: int | None = None,
    limit: int | None = None,
    device: str | torch.device | None = None,
    rivals: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Encode every item of a manifest to a file, decode that file, and report bytes, quality and speed.

    Args:
        model: in eval mode.
        split: keep only this split, or these.
        num_active: use the first codebooks only.
        limit: at most so many items, spread evenly over the manifest.
        device: moves the model there first; None leaves it where it is.
        rivals: also run the classical codecs of this machine on every item, at the nearest legal rate.
        progress: called with (items done, items in all).

    Returns:
        A dict that JSON can carry: `model`, `fingerprint`, `machine`, `items` (one row each), `summary` (of
        the model), `codebooks` (usage and perplexity over all items), `rivals` (a summary each) and `failed`.
        Rates come from bytes on disk over the whole corpus: total bits / total seconds (`bitrate_bps`) or
        total bits / total pixels (`bits_per_pixel`). Scores carry 95 % bootstrap intervals.

    Raises:
        UserError: the manifest has nothing for this model, or no item could be coded.
    """
    if device is not None:
        model = model.to(device)
    entries = _choose(manifest, split, limit, model)
    warm_up(model)
    counter = CodeCounter(model.levels)
    ours, theirs = _Tally(), dict[str, _Tally]()
    rows, failed = [], []
    for done, entry in enumerate(entries, start=1):
        with tempfile.TemporaryDirectory(prefix="codec-eval-") as folder:
            try:
                item = code_item(entry.path, model, Path(folder), num_active=num_active)
            except UserError as error:
                failed.append({"path": str(entry.path), "reason": str(error)})
            else:
                counter.add(item.codes)
                ours.add(item)
                rows.append(_row(item))
                for rival in rival_items(item, Path(folder)) if rivals else ():
                    theirs.setdefault(rival.codec, _Tally()).add(rival)
                    rows.append(_row(rival))
        if progress is not None:
            progress(done, len(entries))
    if not ours.count:
        raise UserError(f"none of {len(entries)} items could be coded; the first: {failed[0]['reason']}")
    where = next(model.parameters()).device
    return {
        "model": model.name,
        "fingerprint": model.fingerprint,
        "media": model.media.kind,
        "num_active": num_active,
        "manifest": str(manifest.path if isinstance(manifest, Manifest) else manifest),
        "split": [split] if isinstance(split, str) else list(split) if split else None,
        "machine": machine_facts(where),
        "summary": ours.summary(),
        "codebooks": counter.table(),
        "rivals": {name: tally.summary() for name, tally in theirs.items()},
        "items": rows,
        "failed": failed,
    }


def _choose(manifest: Manifest | str | Path, split: Any, limit: int | None, model: VQVAE) -> list[Entry]:
    if limit is not None and limit < 1:
        raise UserError(f"limit is {limit}; wanted 1 or more")
    if not isinstance(manifest, Manifest):
        manifest = read_manifest(manifest, split=split)
        split = None
    wanted = {split} if isinstance(split, str) else set(split or ())
    kind = model.media.kind
    entries = [entry for entry in manifest if entry.kind == kind and (not wanted or entry.split in wanted)]
    if not entries:
        raise UserError(f"{manifest.path} has no {kind} entries for {model.name}, which codes {kind}")
    if limit is None or limit >= len(entries):
        return entries
    return [entries[index * len(entries) // limit] for index in range(limit)]


def _row(item: Item) -> dict[str, Any]:
    """One item as JSON: a score that is absent or infinite is null, and `notes` says why."""
    extent = (
        {"duration_s": item.duration_s, "bitrate_bps": item.rate}
        if item.is_audio
        else {
            "height": item.reference.shape[1],
            "width": item.reference.shape[2],
            "bits_per_pixel": item.rate,
        }
    )
    notes = {name: score.note for name, score in item.scores.items() if score.note}
    notes |= {
        name: "perfect" for name, score in item.scores.items() if score.value is not None and score.finite is None
    }
    return {
        "path": str(item.path),
        "codec": item.codec,
        "setting": item.setting,
        "bytes": item.num_bytes,
        **extent,
        "encode_s": item.encode_s,
        "decode_s": item.decode_s,
        "scores": {name: score.finite for name, score in item.scores.items()},
        "notes": notes,
    }


class _Tally:
    """Adds up one codec's items."""

    def __init__(self) -> None:
        self.count = 0
        self._audio = True
        self._bytes = 0
        self._extent = self._encode_s = self._decode_s = 0.0
        self._scores: dict[str, list[float | None]] = {}

    def add(self, item: Item) -> None:
        self.count += 1
        self._audio = item.is_audio
        self._bytes += item.num_bytes
        self._extent += item.extent
        self._encode_s += item.encode_s
        self._decode_s += item.decode_s
        for name, score in item.scores.items():
            self._scores.setdefault(name, []).append(score.finite)

    def summary(self) -> dict[str, Any]:
        """Totals, rate over the whole corpus, speed, and the mean of every score with its interval."""
        work = self._extent if self._audio else self._extent / 1e6
        unit = "times_real_time" if self._audio else "megapixels_per_s"
        intervals = {name: mean_interval(values) for name, values in self._scores.items()}
        return {
            "items": self.count,
            "bytes": self._bytes,
            "duration_s" if self._audio else "pixels": self._extent,
            "bitrate_bps" if self._audio else "bits_per_pixel": 8 * self._bytes / self._extent,
            f"encode_{unit}": work / max(self._encode_s, 1e-9),
            f"decode_{unit}": work / max(self._decode_s, 1e-9),
            "scores": {name: asdict(found) if found else None for name, found in intervals.items()},
        }
