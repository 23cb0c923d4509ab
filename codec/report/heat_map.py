"""A table of shares as a picture that tells, where one points, what it counted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

from codec.eval.phones import SILENCE
from codec.report.colour import colour_image
from codec.report.inline import image_uri

_WIDTH = 880  # pixels that all columns get, where they are few or many enough to choose
_NARROWEST, _WIDEST = 3, 21  # pixels of a column
_ROW = 14
_LABEL = 54  # pixels for the names of rows
_LETTER = 6.2  # pixels of a letter at the size of labels
_TIERS = 3  # of names under columns that are narrower than their names


@dataclass(frozen=True, eq=False)
class HeatMap:
    """A table to draw.

    Attributes:
        title: what it shows, for those who cannot see it.
        values: `[rows, columns]` from 0, the darkest, to 1; NaN stays empty.
        rows, columns: names.
        groups: names under the columns, from the left, and how many columns each spans.
        told: what pointing at a cell tells, `[rows][columns]`; "" for nothing.
    """

    title: str
    values: np.ndarray
    rows: Sequence[str]
    columns: Sequence[str]
    groups: Sequence[tuple[str, int]]
    told: Sequence[Sequence[str]]

    def html(self) -> str:
        """The picture with names beside and under it; it scrolls where it is wider than the page."""
        cell = min(max(_WIDTH // len(self.columns), _NARROWEST), _WIDEST)
        width, height = cell * len(self.columns), _ROW * len(self.rows)
        under, depth = self._names_under(cell, height)
        facts = json.dumps({"rows": self.rows, "columns": self.columns, "told": self.told}, separators=(",", ":"))
        facts = facts.replace("<", "\\u003c")  # no name can end the script
        size = f'width="{width}" height="{height}"'
        return f"""<div class="scroll heat" tabindex=0 role=region aria-label="{escape(self.title)}">
<svg class="rows" width="{_LABEL}" height="{height + depth}">{self._names_beside()}</svg>
<svg width="{width}" height="{height + depth}"><rect class="empty" {size}/>
<image href="{self._picture()}" {size} preserveAspectRatio="none"/>{under}</svg>
<script type="application/json">{facts}</script></div>"""

    def _picture(self) -> str:
        image = colour_image(self.values).convert("RGBA")
        image.putalpha(Image.fromarray(np.where(np.isnan(self.values), 0, 255).astype(np.uint8)))
        return image_uri(image)

    def _names_beside(self) -> str:
        return "".join(
            f'<text x="{_LABEL - 6}" y="{_ROW * (place + 0.5):g}" text-anchor="end"{_kind(name)}>{escape(name)}</text>'
            for place, name in enumerate(self.rows)
        )

    def _names_under(self, cell: int, top: int) -> tuple[str, int]:
        """Names under the columns from `top` on, and the height that they take."""
        crowded = any(_LETTER * len(name) > cell * span for name, span in self.groups)
        tiers = _TIERS if crowded else 1
        parts, left = [], 0
        for place, (name, span) in enumerate(self.groups):
            middle, tier = left + cell * span / 2, place % tiers
            if crowded:
                parts.append(
                    f'<path d="M{left + 0.5:g} {top}v5h{cell * span - 1}v-5M{middle:g} {top + 5}v{4 + 13 * tier}"/>'
                )
            y = top + (15 + 13 * tier if crowded else 9)
            parts.append(f'<text x="{middle:g}" y="{y}" text-anchor="middle"{_kind(name)}>{escape(name)}</text>')
            left += cell * span
        return "".join(parts), 13 * tiers + (12 if crowded else 6)


def _kind(name: str) -> str:
    return ' class="silence"' if name == SILENCE else ""
