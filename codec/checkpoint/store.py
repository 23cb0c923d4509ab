"""Named tensors and a JSON header in one safetensors file, written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from codec.core.atomic import atomic_path
from codec.core.errors import UserError


def write_tensors(path: Path, tensors: dict[str, Tensor], *, header: dict[str, Any]) -> None:
    """Write `tensors` (any device) and JSON-able `header` entries to `path`, flushed to the disk, then renamed.

    Raises:
        UserError: the place cannot be written, or the disk is full; a file that was there before stays.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {key: json.dumps(value) for key, value in header.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(plain, temporary, metadata=metadata)
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        except (SafetensorError, OSError) as error:
            raise UserError(f"cannot write {path}: {error}") from None


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (on the CPU) and header of `path`.

    Raises:
        UserError: the file is missing, truncated or not safetensors.
    """
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, _entries(file)  # noqa: SIM118 (not a dict)


def read_header(path: Path) -> dict[str, Any]:
    """The header of `path` alone, without reading tensors; errors as `read_tensors`."""
    with _opened(path) as file:
        return _entries(file)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The safetensors file `path`; what is wrong with it, on opening or reading, is a UserError."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as safetensors ({error}): it is damaged or something else") from None


def _entries(file: Any) -> dict[str, Any]:
    return {key: json.loads(value) for key, value in (file.metadata() or {}).items() if key != "format"}
