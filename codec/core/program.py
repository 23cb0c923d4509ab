"""Networks of other people, as torch.export writes them."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path

import torch
from torch import nn

from codec.core.errors import UserError

_PLAIN_RECORDS = re.compile(
    r"models/model\.json|data/(weights|constants)/((weight|tensor)_\d+|model_(weights|constants)_config\.json)"
    r"|data/sample_inputs/model\.pt|extra/.*|archive_format|archive_version|version|byteorder|\.data/.*"
)


def load_program(path: Path) -> nn.Module:
    """What `torch.export.save` wrote to `path`, if it holds no pickled object.

    Raises:
        UserError: it is no such file, or it does.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    try:
        plain = _is_plain(content)
    except (zipfile.BadZipFile, ValueError, KeyError):
        raise UserError(f"{path} is no program: write it with torch.export.save") from None
    if not plain:
        raise UserError(f"{path} holds pickled objects, which may run anything: export a model of plain tensors")
    return torch.export.load(io.BytesIO(content)).module()


def _is_plain(content: bytes) -> bool:
    """Whether reading a .pt2 archive unpickles nothing but tensors."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [name.partition("/")[2] for name in archive.namelist()]
        root = archive.namelist()[0].partition("/")[0]
        payloads = [
            payload
            for part in ("weights", "constants")
            for payload in json.loads(archive.read(f"{root}/data/{part}/model_{part}_config.json"))["config"].values()
        ]
        try:
            torch.load(io.BytesIO(archive.read(f"{root}/data/sample_inputs/model.pt")), weights_only=True)
        except Exception:  # the loader would then unpickle what is there
            return False
    return (
        len(set(names)) == len(names)
        and all(_PLAIN_RECORDS.fullmatch(name) for name in names)
        and all(re.fullmatch(r"(weight|tensor)_\d+", payload["path_name"]) for payload in payloads)
        and not any(payload["use_pickle"] for payload in payloads)
    )
