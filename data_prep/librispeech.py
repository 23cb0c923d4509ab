"""LibriSpeech: 982 hours of read English at 16 kHz, by 2,484 speakers.

Licence: CC-BY-4.0. Paper: Panayotov et al., ICASSP 2015. Address: https://www.openslr.org/12
Layout: LibriSpeech/SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac, with SPEAKER-CHAPTER.trans.txt beside them.
Splits (the corpus's own): train-* is "train", dev-* "validation", test-* "test"; speakers never cross them.
How to get it: `--download` (train-clean-100, dev-clean, test-clean: 7 GB), or any of the archives by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from codec.core.errors import UserError

from .download import Archive, fetch_all
from .layout import find_root
from .report import PrepReport, Progress, write_corpus
from .screening import Candidate, Limits

_CHECKSUMS = {
    "train-clean-100": "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
    "train-clean-360": "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf",
    "train-other-500": "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2",
    "dev-clean": "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
    "dev-other": "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365",
    "test-clean": "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
    "test-other": "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29",
}
ARCHIVES = {
    subset: Archive(f"https://www.openslr.org/resources/12/{subset}.tar.gz", checksum)
    for subset, checksum in _CHECKSUMS.items()
}
_SPLITS = {"train": "train", "dev": "validation", "test": "test"}


def prepare(
    source: Path,
    out: Path,
    *,
    download: bool = False,
    workers: int = 4,
    progress: Progress | None = None,
    subsets: Sequence[str] | None = None,
    limits: Limits | None = None,
) -> PrepReport:
    """Write the manifest of LibriSpeech under `source`.

    Args:
        subsets: such as ["train-clean-100", "dev-clean"]; None takes those present, or downloads the default three.

    Raises:
        UserError: an unknown subset, another layout, or a download that failed.
    """
    unknown = set(subsets or ()) - set(ARCHIVES)
    if unknown:
        raise UserError(f"LibriSpeech has no {', '.join(sorted(unknown))}; it has {', '.join(ARCHIVES)}")
    if download:
        wanted = subsets or ("train-clean-100", "dev-clean", "test-clean")
        fetch_all([ARCHIVES[subset] for subset in wanted], source, progress=progress)
    layout = "LibriSpeech (SUBSET/SPEAKER/CHAPTER/*.flac)"
    root = find_root(source, ("LibriSpeech",), landmarks=("*-*/*/*/*.flac",), layout=layout)
    present = [folder for folder in sorted(root.glob("*-*")) if folder.name in (subsets or ARCHIVES)]
    candidates = (candidate for folder in present for candidate in _subset(folder))
    return write_corpus(candidates, out, limits=limits, workers=workers, progress=progress)


def _subset(folder: Path) -> Iterator[Candidate]:
    split = _SPLITS[folder.name.split("-")[0]]
    for chapter in sorted(folder.glob("*/*")):
        transcripts = _read_transcripts(chapter)
        for path in sorted(chapter.glob("*.flac")):
            fields = {
                "set": "librispeech",
                "subset": folder.name,
                "split": split,
                "speaker": chapter.parent.name,
                "chapter": chapter.name,
                "transcript": transcripts.get(path.stem),
                "licence": "CC-BY-4.0",
            }
            yield Candidate(path, "audio", fields)


def _read_transcripts(chapter: Path) -> dict[str, str]:
    """Utterance -> words, from the lines `ID WORDS`."""
    path = chapter / f"{chapter.parent.name}-{chapter.name}.trans.txt"
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return {name: words for name, _, words in (line.partition(" ") for line in lines) if name}
