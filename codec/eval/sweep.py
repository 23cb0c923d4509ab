"""A model's rate-distortion curve on pictures, beside those of the classical codecs on the same pictures."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from codec.core.errors import UserError
from codec.data.image import read_image
from codec.data.manifest import Manifest
from codec.eval.curve import PICTURE_SCORES, Curve, bd_rate, curve_record
from codec.eval.interval import mean_interval
from codec.eval.items import rival_item
from codec.eval.picture_codecs import picture_sweep
from codec.eval.reconstruction import evaluate, picture_curve
from codec.eval.rivals import RivalFailure
from codec.eval.selection import select
from codec.eval.tally import Tally
from codec.files.compress import active_levels
from codec.files.prior import PriorChoice
from codec.models.base import CodecModel

Progress = Callable[[int, int], None]


def parse_rates(text: str) -> list[int] | None:
    """Numbers of codebooks out of "1,2,4"; None, which means all of them, out of "all".

    Raises:
        UserError: the text is neither.
    """
    if text == "all":
        return None
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise UserError(f"rates are {text!r}; wanted all, or numbers of codebooks such as 1,2,4") from None


def rate_distortion(
    model: CodecModel,
    manifest: Manifest | str | Path,
    *,
    rates: Sequence[int] | None = None,
    prior: PriorChoice = "auto",
    network: nn.Module | None = None,
    rivals: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Evaluate a model of pictures at several rates, and sweep the classical codecs over their qualities.

    Args:
        model: in eval mode.
        manifest: a path, or what `select` left of one.
        rates: numbers of codebooks; all that the model has if None.
        prior, network: see `evaluate`.
        rivals: also sweep the classical codecs of this machine.
        progress: called with (pictures done, pictures in all), over all rates and the sweep.

    Returns:
        A dict that JSON can carry: `name`, `description` and `results` (`curve_record`, an entry per rate, `num_active`
        among them); `rates`, what `evaluate` says of each; `rivals`, a `curve_record` each; and `comparison`, what
        `compare` says of each rival.

    Raises:
        UserError: as `evaluate`, or the model codes sound.
    """
    if model.media.kind != "image":
        raise UserError(f"{model.name} codes sound; rate-distortion curves are of pictures: leave --rates out")
    rates = sorted(set(rates or model.rates))
    for rate in rates:
        active_levels(model, rate)  # told before the first is evaluated
    manifest = select(manifest, model)
    stretch = _Stretch(progress, len(manifest) * (len(rates) + rivals))
    reports = [
        evaluate(model, manifest, num_active=rate, prior=prior, network=network, progress=stretch.next())
        for rate in rates
    ]
    record = picture_curve(reports)
    record["results"]["num_active"] = rates
    theirs, rows, failed = rival_curves(manifest, stretch.next()) if rivals else ([], [], [])
    return {
        **record,
        "rates": reports,
        "rivals": theirs,
        "comparison": {rival["name"]: compare(record, rival, reports, rows) for rival in theirs},
        "rival_items": rows,
        "failed": failed,
    }


class _Stretch:
    """One progress bar over several stretches of pictures, each of which counts from 1."""

    def __init__(self, progress: Progress | None, total: int):
        self._progress, self._total, self._before, self._done = progress, total, 0, 0

    def next(self) -> Progress:
        """What the next stretch reports to."""
        self._before = self._done
        return self._advance

    def _advance(self, done: int, _: int) -> None:
        self._done = self._before + done
        if self._progress is not None:
            self._progress(self._done, self._total)


def rival_curves(manifest: Manifest, progress: Progress) -> tuple[list[dict[str, Any]], ...]:
    """The classical codecs of this machine over their qualities.

    Returns:
        A `curve_record` for each, whose points are means over all pictures at one quality; an `Item.row` per picture
        and quality; and what failed.
    """
    tallies: dict[str, dict[str, Tally]] = {}
    rows, failed = [], []
    for done, entry in enumerate(manifest, start=1):
        with tempfile.TemporaryDirectory(prefix="codec-eval-") as folder:
            try:
                reference = read_image(entry.path).flattened()
            except UserError:
                continue  # the model could not read it either, and said so
            for result in picture_sweep(reference, Path(folder)):
                if isinstance(result, RivalFailure):
                    failed.append({"path": str(entry.path), "codec": result.name, "reason": result.reason})
                    continue
                item = rival_item(result, entry.path, reference)
                tallies.setdefault(item.codec, {}).setdefault(item.setting, Tally()).add(item)
                rows.append(item.row())
        progress(done, len(manifest))
    records = []
    for name, settings in tallies.items():
        description = f"{name}, {', '.join(settings)}; bits from the files on disk"
        records.append(curve_record(name, description, [tally.summary() for tally in settings.values()]))
    return records, rows, failed


def compare(
    ours: dict[str, Any], rival: dict[str, Any], reports: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """How far our points lie above a rival's curve.

    Args:
        ours, rival: `curve_record`s.
        reports: of `evaluate`, one for each of our points.
        rows: `Item.row` of every picture at every quality of the rival; those of others are passed over.

    Returns:
        For each score, per rate of ours: `difference`, our mean minus the rival's curve of means at the same mean rate;
        and `by_picture`, the mean with its interval of the differences from the rival at each picture's own rate.
        Both are null where the rival has no such rate. For PSNR and MS-SSIM (in dB) also `bd_rate_percent`.
    """
    found: dict[str, Any] = {}
    for metric, score in PICTURE_SCORES.items():
        curve = Curve.of(rival, metric)
        found[metric] = {
            "difference": [
                _minus(quality, curve.at(rate))
                for rate, quality in zip(ours["results"]["bpp"], ours["results"][metric], strict=True)
            ],
            "by_picture": _by_picture(rival["name"], score, reports, rows),
        }
    for metric, of in (("psnr-rgb", Curve.of), ("ms-ssim-rgb", lambda *which: Curve.of(*which).in_decibels())):
        found[metric]["bd_rate_percent"] = bd_rate(of(ours, metric), of(rival, metric))
    return found


def _by_picture(
    name: str, score: str, reports: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]
) -> list[dict[str, Any] | None]:
    points: dict[str, list[tuple[float, float | None]]] = {}
    for row in rows:
        if row["codec"] == name:
            points.setdefault(row["path"], []).append((row["bits_per_pixel"], row["scores"][score]))
    curves = {path: Curve.through(found) for path, found in points.items()}
    intervals = []
    for report in reports:
        differences = [
            _minus(row["scores"][score], curves[row["path"]].at(row["bits_per_pixel"]))
            for row in report["items"]
            if row["path"] in curves
        ]
        interval = mean_interval(differences)
        intervals.append(asdict(interval) if interval else None)
    return intervals


def _minus(ours: float | None, theirs: float | None) -> float | None:
    return ours - theirs if ours is not None and theirs is not None else None
