"""A model of speech units as one file: weights and codebook, with its config, card and fingerprint in the header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from codec.checkpoint.weights import read_module, take_weights, write_module
from codec.checkpoint.zoo import UNITS_FILE, UNITS_KEY, find_model
from codec.models.build_units import build_units, parse_units
from codec.models.units import UnitModel


def save_units(
    model: UnitModel,
    folder: str | Path,
    *,
    name: str | None = None,
    dtype: torch.dtype = torch.float32,
    card: dict[str, Any] | None = None,
) -> str:
    """Write `model` to `folder/units.safetensors` and return its fingerprint; arguments as `save_model`."""
    return write_module(model, Path(folder) / UNITS_FILE, key=UNITS_KEY, name=name, dtype=dtype, card=card)


def load_units(name_or_folder: str | Path, *, device: str | torch.device = "auto") -> UnitModel:
    """A bundled model of units by name, or one of your own by its folder, run folder or file; in eval mode.

    Args:
        name_or_folder: `speech-units-50hz`, `runs/mine`, ...
        device: auto (CUDA where present), cpu or cuda.

    Raises:
        UserError: there is no such model, or its file is damaged or newer than this version.
    """
    return read_module(find_model(name_or_folder, UNITS_FILE), key=UNITS_KEY, build=_build, device=device)


def load_unit_weights(model: UnitModel, name_or_folder: str | Path) -> None:
    """Give `model` the weights of an exported one, to train it further, and its codebook.

    A codebook is left, and found anew, where either model clusters other latents than training sees (smoothed,
    normalised or compensated ones, or posteriors). So is what tells a teacher's units, which are others from teacher to
    teacher.

    Raises:
        UserError: as `load_units`, or the other model is of another config (`take_weights` says what may differ).
    """
    other = load_units(name_or_folder, device="cpu")
    prepares = model.config.prepares_latents or other.config.prepares_latents
    prepared = ("quantizer.", "compensation") if prepares else ()
    take_weights(model, other, origin=name_or_folder, leave=(*prepared, *model.taught))


def _build(tree: Any, origin: str) -> UnitModel:
    return build_units(parse_units(tree, origin=origin))
