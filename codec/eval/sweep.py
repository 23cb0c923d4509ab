"""A model's rate-distortion curve, beside those of the codecs that people use on the same signals."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from codec.core.errors import UserError
from codec.data.manifest import Manifest
from codec.eval.axes import AXES
from codec.eval.curve import Curve, bd_rate, curve_record
from codec.eval.excerpt import excerpt
from codec.eval.interval import mean_interval
from codec.eval.items import model_rate, read_signal, rival_item, rival_sweep
from codec.eval.recognition import Recogniser, hearing
from codec.eval.reconstruction import evaluate, model_curve
from codec.eval.rivals import RivalFailure
from codec.eval.selection import check_seconds, select
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
    seconds: float | None = None,
    recogniser: Recogniser | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Evaluate a model at several rates, and sweep the classical codecs over their settings.

    Args:
        model: in eval mode.
        manifest: a path, or what `select` left of one.
        rates: numbers of codebooks; all that the model has if None.
        prior, network, seconds, recogniser: see `evaluate`.
        rivals: also sweep the classical codecs of this machine.
        progress: called with (items done, items in all), over all rates and the sweep.

    Returns:
        A dict that JSON can carry: a `curve_record` with an entry per rate, `num_active` among them; `rates`, what
        `evaluate` says of each; `rivals`, a `curve_record` each; and `comparison`, what `compare` says of each rival.

    Raises:
        UserError: as `evaluate`.
    """
    check_seconds(model, seconds)
    rates = sorted(set(rates or model.rates))
    for rate in rates:
        active_levels(model, rate)  # told before the first is evaluated
    manifest = select(manifest, model)
    stretch = _Stretch(progress, len(manifest) * (len(rates) + rivals))
    reports = [
        evaluate(
            model,
            manifest,
            num_active=rate,
            prior=prior,
            network=network,
            seconds=seconds,
            recogniser=recogniser,
            progress=stretch.next(),
        )
        for rate in rates
    ]
    record = model_curve(reports)
    record["results"]["num_active"] = rates
    theirs, rows, failed = (
        rival_curves(manifest, model, stretch.next(), seconds=seconds, recogniser=recogniser)
        if rivals
        else ([], [], [])
    )
    return {
        **record,
        "rates": reports,
        "rivals": theirs,
        "comparison": {rival["name"]: compare(record, rival, reports, rows) for rival in theirs},
        "rival_items": rows,
        "failed": failed,
    }


class _Stretch:
    """One progress bar over several stretches of items, each of which counts from 1."""

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


def rival_curves(
    manifest: Manifest,
    model: CodecModel,
    progress: Progress,
    *,
    seconds: float | None = None,
    recogniser: Recogniser | None = None,
) -> tuple[list[dict[str, Any]], ...]:
    """The classical codecs of this machine over their settings, on what `model` is given.

    Returns:
        A `curve_record` for each, whose points are means over all items at one setting, and with its `settings`; an
        `Item.row` per item and setting; and what failed.
    """
    rate = model_rate(model)
    tallies: dict[str, dict[str, Tally]] = {}
    rows, failed = [], []
    for done, entry in enumerate(manifest, start=1):
        with tempfile.TemporaryDirectory(prefix="codec-eval-") as folder:
            try:
                source = entry.path if rate is None else excerpt(entry.path, Path(folder), seconds=seconds)
                reference, hears = read_signal(source, rate), hearing(recogniser, entry, seconds=seconds)
            except UserError:
                continue  # the model could not read it either, and said so
            for result in rival_sweep(reference, rate, Path(folder)):
                if isinstance(result, RivalFailure):
                    failed.append({"path": str(entry.path), "codec": result.name, "reason": result.reason})
                    continue
                item = rival_item(result, entry.path, reference, sample_rate=rate, hears=hears)
                tallies.setdefault(item.codec, {}).setdefault(item.setting, Tally()).add(item)
                rows.append(item.row())
        progress(done, len(manifest))
    records = []
    for name, settings in tallies.items():
        description = f"{name}, {', '.join(settings)}; bits from the files on disk"
        summaries = [tally.summary() for tally in settings.values()]
        record = curve_record(name, description, summaries, media=model.media.kind)
        records.append({**record, "settings": list(settings)})
    return records, rows, failed


def compare(
    ours: dict[str, Any], rival: dict[str, Any], reports: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """How far our points lie above a rival's curve.

    Args:
        ours, rival: `curve_record`s.
        reports: of `evaluate`, one for each of our points.
        rows: `Item.row` of every item at every setting of the rival; those of others are passed over.

    Returns:
        For each score, per rate of ours: `difference`, our mean minus the rival's curve of means at the same mean rate;
        and `by_picture` or `by_recording`, the mean with its interval of the differences from the rival at each item's
        own rate. Both are null where the rival has no such rate. For the scores that are tabled (MS-SSIM in dB) also
        `bd_rate_percent`.
    """
    axes, found = AXES[ours["media"]], dict[str, Any]()
    for metric, score in axes.scores.items():
        curve = Curve.of(rival, metric)
        found[metric] = {
            "difference": [
                _minus(quality, curve.at(rate))
                for rate, quality in zip(ours["results"][axes.title], ours["results"][metric], strict=True)
            ],
            f"by_{axes.item}": _by_item(rival["name"], score, axes.rate, reports, rows),
        }
    for metric in axes.headings:
        found[metric]["bd_rate_percent"] = bd_rate(*(Curve.drawn(record, metric) for record in (ours, rival)))
    return found


def _by_item(
    name: str, score: str, rate: str, reports: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]
) -> list[dict[str, Any] | None]:
    points: dict[str, list[tuple[float, float | None]]] = {}
    for row in rows:
        if row["codec"] == name:
            points.setdefault(row["path"], []).append((row[rate], row["scores"].get(score)))
    curves = {path: Curve.through(found) for path, found in points.items()}
    intervals = []
    for report in reports:
        differences = [
            _minus(row["scores"].get(score), curves[row["path"]].at(row[rate]))
            for row in report["items"]
            if row["path"] in curves
        ]
        interval = mean_interval(differences)
        intervals.append(asdict(interval) if interval else None)
    return intervals


def _minus(ours: float | None, theirs: float | None) -> float | None:
    return ours - theirs if ours is not None and theirs is not None else None
