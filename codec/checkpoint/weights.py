"""Modules with a config as files: weights, config, card and fingerprint, written and read back the same way for all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from codec.checkpoint.store import read_tensors, write_tensors
from codec.checkpoint.zoo import FORMAT, model_header
from codec.core.config import Config
from codec.core.device import resolve_device
from codec.core.errors import UserError

CODEBOOK = "codebook"
"""The buffer that holds a codebook which learns without a gradient."""

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def write_module(
    module: nn.Module, path: Path, *, key: str, name: str | None, dtype: torch.dtype, card: dict[str, Any] | None
) -> str:
    """Write `module` and its `config` to `path`, under `key` of the header, and return the fingerprint of both.

    Args:
        name: what it is called from here on; that of the folder if None.
        dtype: of parameters and codebooks on disk (float16 halves the size); integers and counts keep theirs.
        card: JSON-able facts about it, not part of the fingerprint.
    """
    tensors = weights_of(module, dtype)
    config = module.config.model_dump(mode="json")  # pyright: ignore
    header = {
        "format": FORMAT,
        "name": name or path.parent.resolve().name,
        "fingerprint": fingerprint_of(config, tensors),
        "config": config,
        "card": card or {},
    }
    write_tensors(path, tensors, header={key: header})
    return header["fingerprint"]


def take_weights(module: nn.Module, other: nn.Module, *, origin: str | Path, leave: Sequence[str] = ()) -> None:
    """Give `module` all that `other`, which `origin` holds, has learnt, to train it further.

    Their configs may differ in settings (`Config.settings`). Codebooks that `other` does not have stay as they are;
    those that only `other` has are left.

    Args:
        leave: beginnings of names of state that is not taken.

    Raises:
        UserError: as `check_alike`.
    """
    check_alike(module.config, other.config, origin=origin)  # pyright: ignore
    own = module.state_dict()
    learnt = {
        name: tensor
        for name, tensor in other.state_dict().items()
        if name in own and own[name].shape == tensor.shape and not name.startswith(tuple(leave))
    }
    module.load_state_dict(learnt, strict=False)


def check_alike(config: Config, other: Config, *, origin: str | Path, leave: Sequence[str] = ()) -> None:
    """Refuse `other`, the config of what `origin` holds, if it differs from `config` in more than settings.

    Args:
        leave: beginnings of keys that may differ, too.

    Raises:
        UserError: it does, naming in what.
    """
    wanted, found = config.structure(), other.structure()
    ours, theirs = wanted.get("kind"), found.get("kind")
    if ours != theirs:
        raise UserError(f"{origin} holds a model of kind {theirs}, not {ours}: start from one like it")
    keys = (key for key in wanted.keys() | found.keys() if not key.startswith(tuple(leave)))
    differing = sorted(key for key in keys if wanted.get(key) != found.get(key))
    if differing:
        raise UserError(f"{origin} holds a model of another config ({', '.join(differing)}): start from one like it")


def read_module(path: Path, *, key: str, build: Callable[[Any, str], ModuleT], device: str | torch.device) -> ModuleT:
    """What `write_module` wrote to `path`, in eval mode.

    Args:
        build: from the plain tree of its config, and where that comes from, to a module with `name` and `fingerprint`.
        device: auto (CUDA where present), cpu or cuda.

    Raises:
        UserError: the file is damaged, newer than this version, or of something else.
    """
    target = resolve_device(str(device))
    tensors, headers = read_tensors(path)
    header = model_header(path, headers, key)
    if fingerprint_of(header["config"], tensors) != header["fingerprint"]:
        raise UserError(f"{path} does not match its fingerprint {header['fingerprint']}: the file is damaged")
    module = build(header["config"], str(path))
    fill(module, tensors, path)
    module.name, module.fingerprint = header["name"], header["fingerprint"]  # pyright: ignore
    return module.to(target).eval().requires_grad_(False)


def weights_of(module: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    """The state of `module` on the CPU; parameters and codebooks in `dtype`, other buffers as they are."""
    rounded = {key for key, _ in module.named_parameters()}
    rounded |= {key for key, _ in module.named_buffers() if key.rpartition(".")[2] == CODEBOOK}
    return {
        key: (tensor.detach().to(dtype) if key in rounded else tensor.detach()).cpu()
        for key, tensor in module.state_dict().items()
    }


def fill(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Give `module` the weights out of the file `path`, whatever their precision there.

    Raises:
        UserError: they are not those of such a module.
    """
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"{path} does not fit its own config: {str(error).splitlines()[-1].strip()}") from None


def fingerprint_of(config: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """16 hex digits of SHA-256 over the config and every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
