"""Rate and distortion of a model over a corpus, through real files on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from codec.core.errors import UserError
from codec.data.manifest import Manifest
from codec.eval.axes import AXES
from codec.eval.codes import CodeCounter
from codec.eval.curve import curve_record
from codec.eval.features import FeatureDistance
from codec.eval.items import code_item, rival_items, warm_up
from codec.eval.machine import machine_facts
from codec.eval.recognition import Recogniser, hearing
from codec.eval.rivals import RivalFailure
from codec.eval.selection import check_seconds, select
from codec.eval.tally import Tally
from codec.files.compress import active_levels
from codec.files.prior import PriorChoice, prior_to_write_with
from codec.models.base import CodecModel


def evaluate(
    model: CodecModel,
    manifest: Manifest | str | Path,
    *,
    num_active: int | None = None,
    prior: PriorChoice = "auto",
    network: nn.Module | None = None,
    rivals: bool = False,
    seconds: float | None = None,
    recogniser: Recogniser | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Encode every item of a manifest to a file, decode that file, and report bytes, quality and speed.

    Args:
        model: in eval mode.
        manifest: a path, or what `select` left of one.
        num_active: use the first codebooks only.
        prior: what predicts the codes, as for `encode_file`; loaded once.
        network: whose features give a Frechet distance between originals and reconstructions; see `FeatureDistance`.
        seconds: of every recording only the first of them.
        recogniser: gives the word error rate of recordings with a transcript.
        rivals: also run the classical codecs of this machine on every item, at the nearest legal rate.
        progress: called with (items done, items in all).

    Returns:
        A dict that JSON can carry: `model`, `fingerprint`, `machine`, `items` (one row each), `summary` (of
        the model), `codebooks` (usage and perplexity over all items), `frechet_distance`, `rivals` (a summary each) and
        `failed` (items that the model, or one of the rivals, could not code, with the reason); and a `curve_record` of
        one point.
        Rates come from bytes on disk: total bits / total seconds or pixels of the whole corpus (`bitrate_bps`,
        `bits_per_pixel`), and the mean of the items' own rates (`mean_...`). Scores carry 95 % bootstrap intervals, and
        beside the mean, which takes finite scores only, how many items were `perfect` (an infinite PSNR, say).

    Raises:
        UserError: the manifest has nothing for this model, which may have fewer codebooks or another prior; or no item
            could be coded.
    """
    check_seconds(model, seconds)
    active_levels(model, num_active)  # told once, not for every item
    used = prior_to_write_with(prior, model)
    manifest = select(manifest, model)
    warm_up(model)
    counter, ours, theirs = CodeCounter(model.levels), Tally(), dict[str, Tally]()
    features = FeatureDistance(network) if network is not None else None
    rows, failed = [], []
    for done, entry in enumerate(manifest, start=1):
        with tempfile.TemporaryDirectory(prefix="codec-eval-") as folder:
            try:
                hears = hearing(recogniser, entry, seconds=seconds)
                item = code_item(
                    entry.path,
                    model,
                    Path(folder),
                    num_active=num_active,
                    prior=used or "none",
                    seconds=seconds,
                    hears=hears,
                )
            except UserError as error:
                failed.append({"path": str(entry.path), "codec": model.name, "reason": str(error)})
            else:
                counter.add(item.codes)
                ours.add(item)
                rows.append(item.row())
                if features is not None:
                    features.add(item)
                for rival in rival_items(item, Path(folder), hears=hears) if rivals else ():
                    if isinstance(rival, RivalFailure):
                        failed.append({"path": str(entry.path), "codec": rival.name, "reason": rival.reason})
                        continue
                    theirs.setdefault(rival.codec, Tally()).add(rival)
                    rows.append(rival.row())
        if progress is not None:
            progress(done, len(manifest))
    if not ours.count:
        raise UserError(f"none of {len(manifest)} items could be coded; the first: {failed[0]['reason']}")
    report = {
        "model": model.name,
        "fingerprint": model.fingerprint,
        "media": model.media.kind,
        "num_active": num_active,
        "seconds": seconds,
        "prior": used.name if used else None,
        "manifest": str(manifest.path),
        "splits": manifest.splits(),
        "machine": machine_facts(next(model.parameters()).device),
        "summary": ours.summary(),
        "codebooks": counter.table(),
        "frechet_distance": features.distance() if features is not None else None,
        "rivals": {name: tally.summary() for name, tally in theirs.items()},
        "items": rows,
        "failed": failed,
    }
    return model_curve([report]) | report


def model_curve(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The `curve_record` of what `evaluate` says of one model at several rates."""
    first, summaries = reports[0], [report["summary"] for report in reports]
    items = f"{summaries[0]['items']} {AXES[first['media']].items}"
    parts = "" if first["seconds"] is None else f", the first {first['seconds']:g} s of each"
    about = f"{first['model']} ({first['fingerprint']}) on {items}{parts}; bits from the files on disk"
    return curve_record(first["model"], about, summaries, media=first["media"])
