"""FFHQ: 70,000 photographs of faces at 1024x1024 pixels.

Licence: CC-BY-NC-SA-4.0 for the set; each picture has its own (CC-BY, CC-BY-NC, CC0, public domain), kept per entry.
Paper: Karras, Laine, Aila, CVPR 2019. Address: https://github.com/NVlabs/ffhq-dataset
Layout: images1024x1024/00000/00000.png (folders of a thousand; flat is read, too) or thumbnails128x128/..., and
ffhq-dataset-v2.json with the category and the licence of each.
Splits (the corpus's own): the first 60,000 are "train", the last 10,000 "validation".
How to get it: `python download_ffhq.py --json --images` of the repository above; no stable address can be fetched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codec.core.errors import UserError

from .layout import find_root, walk
from .report import PrepReport, Progress, write_corpus
from .screening import Candidate, Limits, Skipped

_FIRST_VALIDATION = 60_000


def prepare(
    source: Path,
    out: Path,
    *,
    download: bool = False,
    workers: int = 4,
    progress: Progress | None = None,
    images: str = "images1024x1024",
    limits: Limits | None = None,
) -> PrepReport:
    """Write the manifest of FFHQ under `source`.

    Args:
        images: which folder of pictures: "images1024x1024" or "thumbnails128x128".

    Raises:
        UserError: another layout; or `download`, which the authors' own program does.
    """
    if download:
        raise UserError("FFHQ comes by download_ffhq.py of https://github.com/NVlabs/ffhq-dataset: run that first")
    layout = f"FFHQ ({images}/00000/00000.png)"
    root = find_root(source, ("ffhq-dataset", "ffhq"), landmarks=(f"{images}/**/*.png",), layout=layout)
    candidates = _candidates(root / images, _read_licences(root))
    return write_corpus(candidates, out, limits=limits, workers=workers, progress=progress)


def _candidates(folder: Path, licences: dict[int, str]) -> Iterator[Candidate | Skipped]:
    for path in walk(folder):
        if isinstance(path, Skipped):
            yield path
            continue
        if path.suffix.lower() != ".png" or not path.stem.isdigit():
            continue
        number = int(path.stem)
        split = "train" if number < _FIRST_VALIDATION else "validation"
        licence = licences.get(number, "CC-BY-NC-SA-4.0 (the set's)")
        yield Candidate(path, "image", {"set": "ffhq", "split": split, "licence": licence})


def _read_licences(root: Path) -> dict[int, str]:
    """Number -> licence, from the corpus's JSON where it is there."""
    path = root / "ffhq-dataset-v2.json"
    if not path.exists():
        return {}
    try:
        tree: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {int(number): str(item["metadata"]["license"]) for number, item in tree.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path} is not FFHQ's list of pictures: fetch it again, or remove it") from None
