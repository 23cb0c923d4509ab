"""Named tensors and a JSON header in one safetensors file, written whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from codec.core.atomic import atomic_path
from codec.core.errors import UserError


def write_tensors(path: Path, tensors: dict[str, Tensor], *, header: dict[str, Any]) -> None:
    """Write `tensors` (any device) and JSON-able `header` entries to `path`, flushed to the disk, then renamed."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {key: json.dumps(value) for key, value in header.items()}
    with atomic_path(path) as temporary:
        save_file(plain, temporary, metadata=metadata)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (on the CPU) and header of `path`.

    Raises:
        UserError: the file is missing, truncated or not safetensors.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            header = {key: json.loads(value) for key, value in (file.metadata() or {}).items() if key != "format"}
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as safetensors ({error}): it is damaged or something else") from None
    return tensors, header


def read_header(path: Path) -> dict[str, Any]:
    """The header of `path` alone, without reading tensors; errors as `read_tensors`."""
    try:
        with safe_open(path, framework="pt") as file:
            return {key: json.loads(value) for key, value in (file.metadata() or {}).items() if key != "format"}
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as safetensors ({error}): it is damaged or something else") from None
