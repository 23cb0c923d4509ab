"""From the name of a corpus to the file that prepares it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from codec.core.errors import UserError

from .report import PrepReport

CORPORA = ("folder", "librispeech", "vctk", "ljspeech", "cifar10", "imagenet", "ffhq")


def prepare(corpus: str, source: str | Path, out: str | Path, **options: Any) -> PrepReport:
    """Write the manifest of `corpus`, found under `source`, to `out` (a folder, or a `.jsonl` file).

    Raises:
        UserError: no such corpus, an option it does not have, or a source that is not laid out as the corpus is.
    """
    if corpus not in CORPORA:
        raise UserError(f"corpus {corpus!r} is unknown: use one of {', '.join(CORPORA)}")
    module = import_module(f".{corpus}", __package__)
    return module.prepare(Path(source), Path(out), **options)
