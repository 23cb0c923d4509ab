"""ImageNet (ILSVRC 2012): 1.28 million photographs in 1,000 classes, of all sizes.

Licence: for non-commercial research, by agreement; the pictures are their authors'. Paper: Russakovsky et al., 2015.
Layout: train/WNID/WNID_NUMBER.JPEG and val/ILSVRC2012_val_NUMBER.JPEG (or val/WNID/...), as such or below
ILSVRC/Data/CLS-LOC/. Some JPEGs are CMYK and one is a PNG by another name: both are read.
Splits (the corpus's own): train is "train", val "validation", test "test" where present.
How to get it: register at https://image-net.org or Kaggle; no program may fetch it for you. Then unpack
ILSVRC2012_img_train.tar (MD5 1d675b47d978889d74fa0da5fadfb00e), each of the tars in it into train/WNID, and
ILSVRC2012_img_val.tar (MD5 29b22e2961454d5413ddabcf34fc5622) into val.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from codec.core.errors import UserError

from .layout import find_root, walk
from .report import PrepReport, Progress, write_corpus
from .screening import Candidate, Limits, Skipped

_SPLITS = {"train": "train", "val": "validation", "test": "test"}


def prepare(
    source: Path,
    out: Path,
    *,
    download: bool = False,
    workers: int = 4,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> PrepReport:
    """Write the manifest of ImageNet under `source`.

    Raises:
        UserError: another layout; or `download`, since the corpus is behind a registration.
    """
    if download:
        raise UserError(
            "ImageNet is behind a registration: get it at https://image-net.org, then run without --download"
        )
    layout = "ImageNet (train/n01440764/*.JPEG, val/*.JPEG)"
    root = find_root(
        source, ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC"), landmarks=("train/**/*.JPEG", "val/**/*.JPEG"), layout=layout
    )
    return write_corpus(_candidates(root), out, limits=limits, workers=workers, progress=progress)


def _candidates(root: Path) -> Iterator[Candidate | Skipped]:
    for folder, split in _SPLITS.items():
        for path in walk(root / folder):
            if isinstance(path, Skipped):
                yield path
            elif path.suffix.lower() in (".jpeg", ".jpg"):
                label = None if path.parent.name == folder else path.parent.name
                fields = {"set": "imagenet", "split": split, "label": label, "licence": "ImageNet terms of access"}
                yield Candidate(path, "image", fields)
