"""Text files line by line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from codec.core.errors import UserError


def numbered_lines(source: Path) -> Iterator[tuple[int, str]]:
    """Numbers, from 1, and texts of the lines of `source` that are not empty; UserError if it cannot be read."""
    try:
        with open(source, encoding="utf-8") as file:
            yield from ((number, line) for number, line in enumerate(file, 1) if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {source}: {error}") from None
