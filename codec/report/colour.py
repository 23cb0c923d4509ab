"""Colours of even perceptual steps: a map from dark indigo over plum and coral to pale straw, and a circle of hues."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_ANCHORS = ("#08081a", "#2a1a5e", "#6d1f7c", "#b32f6c", "#e65a4b", "#f79a45", "#f8d27a", "#fdf6d8")
_CHROMA = 0.12

# Björn Ottosson's OKLab: linear sRGB to cone responses, and cube roots of those to lightness and two colour axes.
_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


@lru_cache(maxsize=1)
def colour_map() -> NDArray[np.uint8]:
    """256 colours `[256, 3]`, lightness rising evenly, interpolated in OKLab."""
    anchors = np.array([[int(code[at : at + 2], 16) for at in (1, 3, 5)] for code in _ANCHORS]) / 255
    lab = np.cbrt(_linear(anchors) @ _TO_CONES.T) @ _TO_LAB.T
    lightness = np.linspace(lab[0, 0], lab[-1, 0], 256)
    return _srgb(np.stack([np.interp(lightness, lab[:, 0], lab[:, axis]) for axis in range(3)], axis=1))


def hues(count: int) -> list[str]:
    """`count` light colours #rrggbb that dark words can be read on, evenly around most of the circle of hues.

    The last is no neighbour of the first, so that colours tell the order.
    """
    angles = np.linspace(0, 2 * np.pi * 0.88, count)
    lab = np.stack([np.full(count, 0.8), _CHROMA * np.cos(angles), _CHROMA * np.sin(angles)], axis=1)
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in _srgb(lab).tolist()]


def colour_image(values: NDArray[np.floating]) -> Image.Image:
    """A palette picture of `values` `[rows, columns]`, 0 the darkest and 1 the lightest; NaN counts as 0."""
    shades = np.rint(np.nan_to_num(values).clip(0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(shades, mode=None)
    image.putpalette(colour_map().tobytes())
    return image


def _srgb(lab: NDArray) -> NDArray[np.uint8]:
    linear = (lab @ np.linalg.inv(_TO_LAB).T) ** 3 @ np.linalg.inv(_TO_CONES).T
    return np.rint(_gamma(linear.clip(0, 1)) * 255).astype(np.uint8)


def _linear(srgb: NDArray) -> NDArray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _gamma(linear: NDArray) -> NDArray:
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
