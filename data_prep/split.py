"""Splits that depend on names alone, so that they are the same on every machine and after every rerun."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from codec.core.errors import UserError


def check_fraction(fraction: float) -> None:
    """UserError unless `fraction` can be the share of a validation split."""
    if not 0.0 <= fraction < 1.0:
        raise UserError(f"fraction is {fraction}: the share for validation must be at least 0 and below 1")


def split_by_hash(name: str, fraction: float) -> str:
    """ "validation" for about `fraction` of all names, "train" for the others; a new name moves no other."""
    return "validation" if _position(name) < fraction else "train"


def split_by_group(groups: Iterable[str], fraction: float) -> dict[str, str]:
    """The split of every group (a speaker, say): exactly `fraction` of them, rounded up, are "validation"."""
    ordered = sorted(set(groups), key=_position)
    held_out = -(-len(ordered) * fraction // 1) if len(ordered) > 1 else 0
    return {group: "validation" if place < held_out else "train" for place, group in enumerate(ordered)}


def _position(name: str) -> float:
    """Where `name` falls in [0, 1), by its SHA-256."""
    return int.from_bytes(hashlib.sha256(name.encode(errors="surrogateescape")).digest()[:8], "big") / 2**64
