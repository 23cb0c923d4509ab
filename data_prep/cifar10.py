"""CIFAR-10: 60,000 colour pictures of 32x32 pixels in ten classes.

Licence: none is stated; published for research by A. Krizhevsky (2009). Address: https://www.cs.toronto.edu/~kriz/cifar.html
Layout: the binary version, cifar-10-batches-bin/{data_batch_1..5,test_batch}.bin, batches.meta.txt; a record is one
byte of class and 3,072 of pixels (red, green, blue planes, row by row). The Python version is a pickle: not read.
Splits (the corpus's own): the data batches are "train", the test batch "test".
How to get it: `--download` (170 MB). The pictures are written as PNG beside the manifest, in cifar10/SPLIT/CLASS/.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from codec.core.atomic import atomic_path
from codec.core.errors import UserError

from .download import Archive, fetch_all
from .layout import find_root
from .report import PrepReport, Progress, manifest_path, write_corpus
from .screening import Candidate, Limits

ARCHIVES = [Archive("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530")]
_RECORD = 1 + 3 * 32 * 32
_SPLITS = {f"data_batch_{number}.bin": "train" for number in range(1, 6)} | {"test_batch.bin": "test"}
_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def prepare(
    source: Path,
    out: Path,
    *,
    download: bool = False,
    workers: int = 4,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> PrepReport:
    """Write the pictures of CIFAR-10 under `source` as PNG beside the manifest, and the manifest.

    Raises:
        UserError: another layout, a batch that is not whole records, or a download that failed.
    """
    if download:
        fetch_all(ARCHIVES, source, progress=progress)
    layout = "CIFAR-10, binary version (cifar-10-batches-bin/data_batch_1.bin)"
    root = find_root(source, ("cifar-10-batches-bin",), landmarks=("*_batch*.bin",), layout=layout)
    pictures = manifest_path(out).parent / "cifar10"
    return write_corpus(_candidates(root, pictures), out, limits=limits, workers=workers, progress=progress)


def _candidates(root: Path, pictures: Path) -> Iterator[Candidate]:
    for name, split in _SPLITS.items():
        batch = root / name
        if not batch.exists():
            continue
        for number, (label, pixels) in enumerate(_read_batch(batch)):
            path = pictures / split / _CLASSES[label] / f"{batch.stem}-{number:05d}.png"
            _write_once(path, pixels)
            yield Candidate(path, "image", {"set": "cifar10", "split": split, "label": _CLASSES[label]})


def _read_batch(batch: Path) -> Iterator[tuple[int, np.ndarray]]:
    content = np.fromfile(batch, dtype=np.uint8)
    if content.size == 0 or content.size % _RECORD:
        raise UserError(f"{batch} has {content.size} bytes, not a multiple of {_RECORD}: fetch it again")
    for record in content.reshape(-1, _RECORD):
        if record[0] >= len(_CLASSES):
            raise UserError(f"{batch} has a picture of class {record[0]}; CIFAR-10 has ten classes")
        yield int(record[0]), record[1:].reshape(3, 32, 32).transpose(1, 2, 0)


def _write_once(path: Path, pixels: np.ndarray) -> None:
    if not path.exists():
        with atomic_path(path) as temporary:
            Image.fromarray(np.ascontiguousarray(pixels)).save(temporary, format="PNG")
