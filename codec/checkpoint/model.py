"""A model as one file: weights, codebooks and histograms, with its config, card and fingerprint in the header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from codec.checkpoint.weights import read_module, take_weights, write_module
from codec.checkpoint.zoo import MODEL_FILE, MODEL_KEY, find_model
from codec.models.base import CodecModel
from codec.models.build import build_model, parse_model


def save_model(
    model: CodecModel,
    folder: str | Path,
    *,
    name: str | None = None,
    dtype: torch.dtype = torch.float32,
    card: dict[str, Any] | None = None,
) -> str:
    """Write `model` to `folder/model.safetensors` and return its fingerprint.

    Args:
        name: what files coded with it will call it; the folder's name if None.
        dtype: of parameters and codebooks on disk (float16 halves the size); integers and counts keep theirs.
        card: JSON-able facts about the model (description, data, licence, measured), not part of the fingerprint.
    """
    model.freeze_histograms()
    return write_module(model, Path(folder) / MODEL_FILE, key=MODEL_KEY, name=name, dtype=dtype, card=card)


def load_model(name_or_folder: str | Path, *, device: str | torch.device = "auto") -> CodecModel:
    """A bundled model by name, or one of your own by its folder, run folder or file; in eval mode.

    Args:
        name_or_folder: `speech-16k`, `runs/mine`, `runs/mine/checkpoints/best/model.safetensors`, ...
        device: auto (CUDA where present), cpu or cuda.

    Raises:
        UserError: there is no such model, or its file is damaged or newer than this version.
    """
    return read_module(find_model(name_or_folder), key=MODEL_KEY, build=_build, device=device)


def load_weights(model: CodecModel, name_or_folder: str | Path) -> None:
    """Give `model` the weights, codebooks and counts of an exported one, to train it further.

    Raises:
        UserError: as `load_model`, or the other model is of another config (`take_weights` says what may differ).
    """
    take_weights(model, load_model(name_or_folder, device="cpu"), origin=name_or_folder)


def _build(tree: Any, origin: str) -> CodecModel:
    return build_model(parse_model(tree, origin=origin))
