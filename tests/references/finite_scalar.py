"""Finite scalar quantization number by number, in float64 and exact fractions (Mentzer et al. 2024, section 3.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

MARGIN = 1e-3  # by which the toolkit lets the bounds overshoot


def level_values(levels: int) -> list[Fraction]:
    """The values that a channel can take, from lowest to highest."""
    return [Fraction(k - levels // 2, levels // 2) for k in range(levels)]


def bound(z: float, levels: int) -> float:
    """Latent `z` squashed so that the nearest of the levels is what the paper's rounding gives."""
    reach, offset, shift = _shape(levels)
    return (reach * math.tanh(z + shift) - offset) / (levels // 2)


def slope(z: float, levels: int) -> float:
    """Derivative of `bound`."""
    reach, _, shift = _shape(levels)
    return reach * (1 - math.tanh(z + shift) ** 2) / (levels // 2)


def inverse(value: float, levels: int) -> float:
    """The latent whose `bound` is `value`."""
    reach, offset, shift = _shape(levels)
    return math.atanh((value * (levels // 2) + offset) / reach) - shift


def nearest_level(value: float, levels: int) -> int:
    """Which level is nearest to a bounded `value`, by comparing it with all."""
    return min(range(levels), key=lambda k: abs(Fraction(value) - level_values(levels)[k]))


def code(digits: Sequence[int], levels: Sequence[int]) -> int:
    """Mixed radix number whose first digit counts least."""
    total, place = 0, 1
    for digit, radix in zip(digits, levels, strict=True):
        total, place = total + digit * place, place * radix
    return total


def digits(number: int, levels: Sequence[int]) -> list[int]:
    """The digits of such a number."""
    found = []
    for radix in levels:
        number, digit = divmod(number, radix)
        found.append(digit)
    return found


def residual_digits(value: float, levels: int, stages: int) -> tuple[list[int], list[Fraction]]:
    """Digit and centre per stage for a bounded `value`: its level's cell, then the part of that which holds it, ...

    A value beyond the outermost cell counts as at its edge.
    """
    first = nearest_level(value, levels)
    half_cell = Fraction(1, 2 * (levels // 2))
    centre = level_values(levels)[first]
    low, high = centre - half_cell, centre + half_cell
    found, centres = [first], [centre]
    for _ in range(stages - 1):
        width = (high - low) / levels
        part = min(max(math.floor((Fraction(value) - low) / width), 0), levels - 1)
        low, high = low + part * width, low + (part + 1) * width
        found.append(part)
        centres.append((low + high) / 2)
    return found, centres


def _shape(levels: int) -> tuple[float, float, float]:
    reach = (levels - 1) * (1 + MARGIN) / 2
    offset = 0.5 if levels % 2 == 0 else 0.0
    return reach, offset, math.atanh(offset / reach)
