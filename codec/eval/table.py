"""An evaluation as a table for the terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table

SCORE_TITLES = {
    "pesq": "PESQ",
    "stoi": "STOI",
    "visqol": "ViSQOL",
    "si_sdr": "SI-SDR dB",
    "mel_distance": "mel dB",
    "psnr": "PSNR dB",
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
}


def evaluation_table(report: dict[str, Any]) -> Table:
    """The summaries of `evaluate`'s report, the model first: means, with half the width of their interval."""
    audio = report["media"] == "audio"
    names = [name for name, found in report["summary"]["scores"].items() if found]
    table = Table(title=f"{report['model']} on {report['summary']['items']} items", title_justify="left")
    table.add_column("codec")
    for title in ("kbit/s" if audio else "bit/px", *(SCORE_TITLES[name] for name in names)):
        table.add_column(title, justify="right")
    unit = "x real time" if audio else "Mpx/s"
    table.add_column(f"encode {unit}", justify="right")
    table.add_column(f"decode {unit}", justify="right")
    for codec, summary in {report["model"]: report["summary"], **report["rivals"]}.items():
        rate = f"{summary['bitrate_bps'] / 1000:.2f}" if audio else f"{summary['bits_per_pixel']:.3f}"
        speeds = [value for key, value in summary.items() if key.startswith(("encode_", "decode_"))]
        scores = [_with_interval(summary["scores"].get(name)) for name in names]
        table.add_row(codec, rate, *scores, *(f"{speed:.3g}" for speed in speeds))
    used = [
        f"{book['usage']:.0%} ({book['perplexity']:.0f} of {book['codebook_size']})" for book in report["codebooks"]
    ]
    table.caption = "codebook usage (perplexity): " + ", ".join(used)
    return table


def _with_interval(found: dict[str, float] | None) -> str:
    if not found:
        return "-"
    digits = 3 if abs(found["mean"]) < 1.5 else 2
    return f"{found['mean']:.{digits}f} ±{(found['high'] - found['low']) / 2:.{digits}f}"
