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
from codec.eval.rivals import RivalFailure
from codec.files.compress import active_levels
from codec.metrics import Score
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
        the model), `codebooks` (usage and perplexity over all items), `rivals` (a summary each) and `failed` (items
        that the model, or one of the rivals, could not code, with the reason).
        Rates come from bytes on disk over the whole corpus: total bits / total seconds (`bitrate_bps`) or
        total bits / total pixels (`bits_per_pixel`). Scores carry 95 % bootstrap intervals, and beside the mean, which
        takes finite scores only, how many items were `perfect` (an infinite PSNR, say).

    Raises:
        UserError: the manifest has nothing for this model, which may have fewer codebooks, or no item could be coded.
    """
    active_levels(model, num_active)  # told once, not for every item
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
                failed.append({"path": str(entry.path), "codec": model.name, "reason": str(error)})
            else:
                counter.add(item.codes)
                ours.add(item)
                rows.append(_row(item))
                for rival in rival_items(item, Path(folder)) if rivals else ():
                    if isinstance(rival, RivalFailure):
                        failed.append({"path": str(entry.path), "codec": rival.name, "reason": rival.reason})
                        continue
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
    notes |= {name: "perfect" for name, score in item.scores.items() if score.perfect}
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
        self._scores: dict[str, list[Score]] = {}

    def add(self, item: Item) -> None:
        self.count += 1
        self._audio = item.is_audio
        self._bytes += item.num_bytes
        self._extent += item.extent
        self._encode_s += item.encode_s
        self._decode_s += item.decode_s
        for name, score in item.scores.items():
            self._scores.setdefault(name, []).append(score)

    def summary(self) -> dict[str, Any]:
        """Totals, rate over the whole corpus, speed, and the mean of every score with its interval."""
        work = self._extent if self._audio else self._extent / 1e6
        unit = "times_real_time" if self._audio else "megapixels_per_s"
        return {
            "items": self.count,
            "bytes": self._bytes,
            "duration_s" if self._audio else "pixels": self._extent,
            "bitrate_bps" if self._audio else "bits_per_pixel": 8 * self._bytes / self._extent,
            f"encode_{unit}": work / max(self._encode_s, 1e-9),
            f"decode_{unit}": work / max(self._decode_s, 1e-9),
            "scores": {name: _mean(scores) for name, scores in self._scores.items()},
        }


def _mean(scores: list[Score]) -> dict[str, Any] | None:
    """Mean and interval of the finite scores, and the number of perfect ones; None if there are neither."""
    interval, perfect = mean_interval(score.finite for score in scores), sum(score.perfect for score in scores)
    if interval is None:
        return {"mean": None, "low": None, "high": None, "count": 0, "perfect": perfect} if perfect else None
    return {**asdict(interval), "perfect": perfect}
