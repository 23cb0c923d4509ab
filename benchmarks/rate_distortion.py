"""The rate-distortion curve of a model of pictures beside those of JPEG, WebP, AVIF and JPEG XL, all in one run.

    python benchmarks/rate_distortion.py MODEL MANIFEST [--split test] [--rates all] [--limit 8] [--json out.json]
        [--plot curve.svg]

Every picture goes through real files at each of the model's rates, and through every rival over a dense sweep of its
qualities. Printed, ready for a page: for each of our rates what it measures, and how far it lies above each rival at
the same rate: on the curves of means, and picture by picture, where every picture's own rate counts, with the 95 %
interval of that mean.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from codec.checkpoint import load_model
from codec.core.atomic import atomic_write_text
from codec.core.errors import UserError
from codec.eval import CURVE_TITLES, curve_rows, parse_rates, rate_distortion, select
from codec.report import plot_writer


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a page."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def by_picture(report: dict[str, Any], metric: str, digits: int) -> tuple[list[str], list[list[str]]]:
    """Headings, and a row per rate: mean differences from each rival, over the pictures that it reaches."""
    comparison = report["comparison"]
    rows = [
        [
            str(number),
            f"{report['results']['bpp'][index]:.3f}",
            *(_interval(found[metric]["by_picture"][index], digits) for found in comparison.values()),
        ]
        for index, number in enumerate(report["results"]["num_active"])
    ]
    return ["codebooks", "bit/px", *(f"{CURVE_TITLES[metric]} vs {name}" for name in comparison)], rows


def _interval(found: dict[str, Any] | None, digits: int) -> str:
    if found is None:
        return "-"
    mean, low, high = (f"{found[key]:+.{digits}f}" for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high}; {found['count']})"


def described(report: dict[str, Any]) -> Iterator[str]:
    """The report, table by table."""
    yield report["description"]
    for metric in CURVE_TITLES:
        yield markdown(*curve_rows(report, metric))
    yield "Picture by picture: mean difference (95 % interval; pictures)"
    yield markdown(*by_picture(report, "psnr-rgb", 2))
    for rival in report["rivals"]:
        points = zip(rival["results"]["bpp"], rival["results"]["psnr-rgb"], strict=True)
        yield f"{rival['name']}: " + ", ".join(f"{rate:.3f} -> {quality:.2f}" for rate, quality in points)


def main() -> int:
    parser = argparse.ArgumentParser(description="The rate-distortion curve of a model beside the classical codecs.")
    parser.add_argument("model", help="bundled name or folder")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--split", default=None)
    parser.add_argument("--rates", default="all", help="all, or numbers of codebooks: 1,2,4")
    parser.add_argument("--limit", type=int, default=None, help="pictures, spread over the manifest")
    parser.add_argument("--prior", default="auto", help="auto, none, a bundled name or a folder")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, default=None, help="where the whole report goes")
    parser.add_argument("--plot", type=Path, default=None, help="where the drawing goes: .svg, .png or .html")
    options = parser.parse_args()
    try:
        draw = plot_writer(options.plot) if options.plot else None
        model = load_model(options.model, device=options.device)
        entries = select(options.manifest, model, split=options.split, limit=options.limit)
        with Console(stderr=True).status("measuring") as status:
            report = rate_distortion(
                model,
                entries,
                rates=parse_rates(options.rates),
                prior=options.prior,
                rivals=True,
                progress=lambda done, total: status.update(f"{done} of {total} pictures"),
            )
    except UserError as error:
        print(f"rate_distortion: {error}", file=sys.stderr)
        return 2
    if options.json:
        atomic_write_text(options.json, json.dumps(report, indent=1) + "\n")
    if draw:
        draw(report)
    print("\n\n".join(described(report)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
