"""LJ Speech 1.1: 24 hours of one English reader, 13,100 clips at 22.05 kHz.

Licence: public domain. Address: https://keithito.com/LJ-Speech-Dataset
Layout: LJSpeech-1.1/wavs/LJ001-0001.wav and LJSpeech-1.1/metadata.csv (`ID|text|normalised text`).
Splits (the corpus has none): a `fraction` of the clips, picked by a hash of the name, is "validation".
How to get it: `--download` (2.6 GB).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .download import Archive, fetch_all
from .layout import find_root
from .report import PrepReport, Progress, write_corpus
from .screening import Candidate, Limits
from .split import check_fraction, split_by_hash

ARCHIVES = [
    Archive(
        "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",
        "be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",
    )
]


def prepare(
    source: Path,
    out: Path,
    *,
    download: bool = False,
    workers: int = 4,
    progress: Progress | None = None,
    fraction: float = 0.05,
    limits: Limits | None = None,
) -> PrepReport:
    """Write the manifest of LJ Speech under `source`.

    Args:
        fraction: share of the clips for validation.

    Raises:
        UserError: another layout, or a download that failed.
    """
    check_fraction(fraction)
    if download:
        fetch_all(ARCHIVES, source, progress=progress)
    layout = "LJ Speech (wavs/LJ001-0001.wav)"
    root = find_root(source, ("LJSpeech-1.1",), landmarks=("wavs/LJ*.wav",), layout=layout)
    return write_corpus(_candidates(root, fraction), out, limits=limits, workers=workers, progress=progress)


def _candidates(root: Path, fraction: float) -> Iterator[Candidate]:
    texts = _read_metadata(root / "metadata.csv")
    for path in sorted((root / "wavs").glob("*.wav")):
        fields = {
            "set": "ljspeech",
            "split": split_by_hash(path.stem, fraction),
            "speaker": "LJ",
            "transcript": texts.get(path.stem),
            "licence": "public domain",
        }
        yield Candidate(path, "audio", fields)


def _read_metadata(path: Path) -> dict[str, str]:
    """Clip -> normalised text. The file is not quoted CSV: quotation marks in it are the readers'."""
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    rows = [line.split("|") for line in lines if "|" in line]
    return {row[0]: row[-1] for row in rows}
