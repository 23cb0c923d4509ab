"""A model as one file: weights, codebooks and histograms, with its config, card and fingerprint in the header."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codec.checkpoint.store import read_tensors, write_tensors
from codec.checkpoint.zoo import FORMAT, MODEL_FILE, MODEL_KEY, find_model, model_header
from codec.core.device import resolve_device
from codec.core.errors import UserError
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
        dtype: of parameters on disk (float16 halves the size); integers and codebook statistics keep theirs.
        card: JSON-able facts about the model (description, data, licence, measured), not part of the fingerprint.
    """
    folder = Path(folder)
    model.freeze_histograms()
    parameters = {key for key, _ in model.named_parameters()}
    tensors = {
        key: (tensor.detach().to(dtype) if key in parameters else tensor.detach()).cpu()
        for key, tensor in model.state_dict().items()
    }
    config = model.config.model_dump(mode="json")
    fingerprint = fingerprint_of(config, tensors)
    header = {
        "format": FORMAT,
        "name": name or folder.resolve().name,
        "fingerprint": fingerprint,
        "config": config,
        "card": card or {},
    }
    write_tensors(folder / MODEL_FILE, tensors, header={MODEL_KEY: header})
    return fingerprint


def load_model(name_or_folder: str | Path, *, device: str | torch.device = "auto") -> CodecModel:
    """A bundled model by name, or one of your own by its folder, run folder or file; in eval mode.

    Args:
        name_or_folder: `speech-16k`, `runs/mine`, `runs/mine/checkpoints/best/model.safetensors`, ...
        device: auto (CUDA where present), cpu or cuda.

    Raises:
        UserError: there is no such model, or its file is damaged or newer than this version.
    """
    target = resolve_device(str(device))
    path = find_model(name_or_folder)
    tensors, headers = read_tensors(path)
    header = model_header(path, headers)
    if fingerprint_of(header["config"], tensors) != header["fingerprint"]:
        raise UserError(f"{path} does not match its fingerprint {header['fingerprint']}: the file is damaged")
    model = build_model(parse_model(header["config"], origin=str(path)))
    try:
        model.load_state_dict(
            {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}
        )
    except RuntimeError as error:
        raise UserError(f"{path} does not fit its own config: {str(error).splitlines()[-1].strip()}") from None
    model.name, model.fingerprint = header["name"], header["fingerprint"]
    return model.to(target).eval().requires_grad_(False)


def load_weights(model: CodecModel, name_or_folder: str | Path) -> None:
    """Give `model` the weights, codebooks and counts of an exported one of the same config, to train it further.

    Raises:
        UserError: as `load_model`, or the other model is of another config.
    """
    other = load_model(name_or_folder, device="cpu")
    if other.config != model.config:
        raise UserError(f"{name_or_folder} holds a model of another config: start from one, or train from nothing")
    model.load_state_dict(other.state_dict())


def fingerprint_of(config: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """16 hex digits of SHA-256 over the config and every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
