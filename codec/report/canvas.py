"""Two surfaces to draw the same lines, dots and words on: SVG text, and pixels."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Literal, Protocol

from PIL import Image, ImageDraw, ImageFont

Point = tuple[float, float]
Anchor = Literal["start", "middle", "end"]
_ANCHORS: dict[Anchor, str] = {"start": "lm", "middle": "mm", "end": "rm"}  # Pillow's names
_FINE = 4  # subpixels that are averaged into one pixel, per axis


class Canvas(Protocol):
    """What can be drawn; positions and sizes in pixels from the top left corner."""

    def line(self, points: Sequence[Point], *, colour: str, width: float) -> None: ...

    def dot(self, centre: Point, *, radius: float, colour: str) -> None: ...

    def text(self, at: Point, words: str, *, size: float, colour: str, anchor: Anchor = "start") -> None:
        """Words centred on the height of `at`, which is their start, middle or end."""
        ...


class SvgCanvas:
    """Draws elements of a self-contained SVG picture on white."""

    def __init__(self, width: int, height: int):
        self._size = width, height
        self._elements: list[str] = []

    def line(self, points: Sequence[Point], *, colour: str, width: float) -> None:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._elements.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-linejoin="round"/>'
        )

    def dot(self, centre: Point, *, radius: float, colour: str) -> None:
        self._elements.append(f'<circle cx="{centre[0]:.1f}" cy="{centre[1]:.1f}" r="{radius}" fill="{colour}"/>')

    def text(self, at: Point, words: str, *, size: float, colour: str, anchor: Anchor = "start") -> None:
        self._elements.append(
            f'<text x="{at[0]:.1f}" y="{at[1] + 0.35 * size:.1f}" font-size="{size}" fill="{colour}" '
            f'text-anchor="{anchor}">{escape(words)}</text>'
        )

    def content(self) -> str:
        """The picture."""
        width, height = self._size
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
                f'height="{height}" font-family="system-ui, Helvetica, Arial, sans-serif">',
                f'<rect width="{width}" height="{height}" fill="white"/>',
                *self._elements,
                "</svg>\n",
            ]
        )


class PixelCanvas:
    """Draws pixels on white, two to a unit and axis, with smooth edges."""

    scale = 2

    def __init__(self, width: int, height: int):
        self._zoom = self.scale * _FINE
        self._image = Image.new("RGB", (width * self._zoom, height * self._zoom), "white")
        self._draw = ImageDraw.Draw(self._image)

    def line(self, points: Sequence[Point], *, colour: str, width: float) -> None:
        where = [(x * self._zoom, y * self._zoom) for x, y in points]
        self._draw.line(where, fill=colour, width=round(width * self._zoom), joint="curve")

    def dot(self, centre: Point, *, radius: float, colour: str) -> None:
        self._draw.circle((centre[0] * self._zoom, centre[1] * self._zoom), radius * self._zoom, fill=colour)

    def text(self, at: Point, words: str, *, size: float, colour: str, anchor: Anchor = "start") -> None:
        font = ImageFont.load_default(size * self._zoom)
        where = (at[0] * self._zoom, at[1] * self._zoom)
        self._draw.text(where, words, fill=colour, font=font, anchor=_ANCHORS[anchor])

    def content(self) -> Image.Image:
        """The picture."""
        return self._image.reduce(_FINE)
