"""Rate and quality of a model of speech beside the classical codecs, item by item in one run on one machine.

    python benchmarks/speech_rates.py MODEL MANIFEST [--split test] [--limit 20] [--json out.json]

Every item goes through the model with 1, 2, 4, ... codebooks, and after each through every rival at the legal rate
nearest to it. Printed: means with 95 % intervals, and what the model's files weigh against each rival's
(bytes ratio) and how far its score lies from theirs (difference, over the same items).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from codec.checkpoint import load_model
from codec.core.atomic import atomic_write_text
from codec.core.errors import UserError
from codec.eval import evaluate, evaluation_table, mean_interval, select
from codec.models.base import CodecModel


def steps(model: CodecModel) -> list[int]:
    """Numbers of codebooks to try: powers of two up to all of them."""
    most = model.levels[0].num_codebooks
    return sorted({min(2**power, most) for power in range(most.bit_length())} | {most})


def ratios(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Per rival: the model's bytes over the rival's, and the difference of every score over the same items."""
    ours = {row["path"]: row for row in report["items"] if row["codec"] == report["model"]}
    rows = []
    for rival, summary in report["rivals"].items():
        pairs = [(ours[row["path"]], row) for row in report["items"] if row["codec"] == rival]
        differences = {
            name: mean_interval(
                a["scores"][name] - b["scores"][name]
                for a, b in pairs
                if a["scores"][name] is not None and b["scores"][name] is not None
            )
            for name in summary["scores"]
        }
        rows.append(
            {
                "rival": rival,
                "bytes_ratio": sum(a["bytes"] for a, _ in pairs) / sum(b["bytes"] for _, b in pairs),
                "score_differences": {
                    name: [found.mean, found.low, found.high] for name, found in differences.items() if found
                },
            }
        )
    return rows


def ratio_table(found: list[dict[str, Any]]) -> Table:
    """The ratios for the terminal."""
    names = list(dict.fromkeys(name for row in found for name in row["score_differences"]))
    table = Table("ours against", *(["bytes ratio", *names]), title_justify="left")
    for row in found:
        cells = [row["score_differences"].get(name) for name in names]
        shown = [f"{cell[0]:+.3f} [{cell[1]:+.3f}, {cell[2]:+.3f}]" if cell else "-" for cell in cells]
        table.add_row(row["rival"], f"{row['bytes_ratio']:.3f}", *shown)
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description="Rate and quality of a model of speech beside the classical codecs.")
    parser.add_argument("model", help="bundled name or folder")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--split", default=None)
    parser.add_argument("--limit", type=int, default=None, help="items, spread over the manifest")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, default=None, help="where the whole report goes")
    options = parser.parse_args()
    console, reports = Console(), []
    try:
        model = load_model(options.model, device=options.device)
        entries = select(options.manifest, model, split=options.split, limit=options.limit)
        for num_active in steps(model):
            with console.status(f"{num_active} codebooks") as status:
                report = evaluate(
                    model,
                    entries,
                    num_active=num_active,
                    rivals=True,
                    progress=lambda done, total, n=num_active: status.update(f"{n} codebooks: {done} of {total}"),
                )
            found = ratios(report)
            reports.append({**report, "ratios": found})
            console.print(evaluation_table(report), ratio_table(found))
    except UserError as error:
        print(f"speech_rates: {error}", file=sys.stderr)
        return 2
    if options.json:
        atomic_write_text(options.json, json.dumps(reports, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
