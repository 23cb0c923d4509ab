"""Where the recipes and corpus preparations live: inside an installed wheel, or beside `codec/` in a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def recipes_folder() -> Path:
    """The folder that holds one folder per recipe."""
    return _bundled("recipes")


def data_prep_folder() -> Path:
    """The folder that holds one file per corpus."""
    return _bundled("data_prep")


def _bundled(name: str) -> Path:
    installed = _PACKAGE / "_bundled" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name
