"""From the name of a corpus to the file that prepares it."""

from __future__ import annotations

from importlib import import_module
from inspect import signature
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
    for option in sorted(options.keys() - signature(module.prepare).parameters.keys()):
        raise UserError(f"corpus {corpus} has no option {option}: leave it out")
    return module.prepare(Path(source), Path(out), **options)
