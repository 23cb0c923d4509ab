"""VCTK 0.92: 44 hours of read English at 48 kHz, by 110 speakers of many accents, with two microphones.

Licence: CC-BY-4.0. Address: https://datashare.ed.ac.uk/handle/10283/3443
Layout: wav48_silence_trimmed/SPEAKER/SPEAKER_UTTERANCE_MIC.flac and txt/SPEAKER/SPEAKER_UTTERANCE.txt, sometimes
below VCTK-Corpus-0.92/. The corpus lacks the texts of p315 and the second microphone of p280.
Splits (the corpus has none): by speaker; a `fraction` of the speakers, picked by a hash of the name, is "validation".
How to get it: `--download` (12 GB).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from codec.core.errors import UserError

from .download import Archive, fetch_all
from .layout import find_root
from .report import PrepReport, Progress, write_corpus
from .screening import Candidate, Limits
from .split import check_fraction, split_by_group

ARCHIVES = [
    Archive(
        "https://datashare.ed.ac.uk/bitstream/handle/10283/3443/VCTK-Corpus-0.92.zip",
        "f96258be9fdc2cbff6559541aae7ea4f59df3fcaf5cf963aae5ca647357e359c",
    )
]
_MICROPHONES = ("mic1", "mic2")


def prepare(
    source: Path,
    out: Path,
    *,
    download: bool = False,
    workers: int = 4,
    progress: Progress | None = None,
    microphone: str = "mic1",
    fraction: float = 0.1,
    limits: Limits | None = None,
) -> PrepReport:
    """Write the manifest of VCTK under `source`.

    Args:
        microphone: "mic1" (omni-directional) or "mic2" (small diaphragm condenser).
        fraction: share of the speakers for validation, at least one.

    Raises:
        UserError: an unknown microphone, another layout, or a download that failed.
    """
    if microphone not in _MICROPHONES:
        raise UserError(f"VCTK has no microphone {microphone!r}; it has {' and '.join(_MICROPHONES)}")
    check_fraction(fraction)
    if download:
        fetch_all(ARCHIVES, source, progress=progress)
    layout = "VCTK 0.92 (wav48_silence_trimmed/SPEAKER/*_mic1.flac)"
    root = find_root(source, ("VCTK-Corpus-0.92",), landmarks=("wav48_silence_trimmed/*/*_mic?.flac",), layout=layout)
    return write_corpus(_candidates(root, microphone, fraction), out, limits=limits, workers=workers, progress=progress)


def _candidates(root: Path, microphone: str, fraction: float) -> Iterator[Candidate]:
    speakers = sorted(folder for folder in (root / "wav48_silence_trimmed").iterdir() if folder.is_dir())
    splits = split_by_group((folder.name for folder in speakers), fraction)
    for folder in speakers:
        for path in sorted(folder.glob(f"*_{microphone}.flac")):
            utterance = path.stem.removesuffix(f"_{microphone}")
            fields = {
                "set": "vctk",
                "split": splits[folder.name],
                "speaker": folder.name,
                "transcript": _read_transcript(root / "txt" / folder.name / f"{utterance}.txt"),
                "licence": "CC-BY-4.0",
            }
            yield Candidate(path, "audio", fields)


def _read_transcript(path: Path) -> str | None:
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.exists() else None
