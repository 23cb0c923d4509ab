"""A prior as one file: its tensors, with its config, its geometry and two fingerprints in the header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt

from codec.checkpoint.store import read_tensors, write_tensors
from codec.checkpoint.weights import fill, fingerprint_of
from codec.checkpoint.zoo import PRETRAINED
from codec.core.config import Config, parse_config
from codec.core.device import resolve_device
from codec.core.errors import UserError
from codec.priors.base import Geometry, Prior
from codec.priors.build import PriorConfig, build_prior
from codec.priors.coding import CodingPrior

PRIOR_FILE = "prior.safetensors"
PRIOR_KEY = "codec-prior"
FORMAT = 1


class PriorCard(BaseModel):
    """What is known of a prior, and whatever else its makers said.

    Attributes:
        shares: see `CodingPrior`.
    """

    model_config = ConfigDict(extra="allow")
    shares: dict[PositiveInt, PositiveFloat] = {}


class PriorHeader(Config):
    """What a file says of the prior in it; `model_fingerprint` is of the model whose codes it is about."""

    format: int
    name: str
    fingerprint: str
    model_fingerprint: str
    config: PriorConfig
    geometry: Geometry
    card: PriorCard


def save_prior(
    prior: Prior | CodingPrior,
    folder: str | Path,
    *,
    model_fingerprint: str,
    name: str | None = None,
    card: dict[str, Any] | None = None,
) -> str:
    """Write `prior` to `folder/prior.safetensors` and return its fingerprint.

    Args:
        model_fingerprint: of the model whose codes it is about.
        name: what files coded with it will call it; the folder's name if None.
        card: JSON-able facts about it (data, licence, measured), not part of the fingerprint.
    """
    folder = Path(folder)
    tensors = {key: tensor.detach().cpu() for key, tensor in prior.state_dict().items()}
    described = {"config": prior.config.model_dump(mode="json"), "geometry": prior.geometry.model_dump(mode="json")}
    fingerprint = fingerprint_of({**described, "model_fingerprint": model_fingerprint}, tensors)
    header = {
        "format": FORMAT,
        "name": name or folder.resolve().name,
        "fingerprint": fingerprint,
        "model_fingerprint": model_fingerprint,
        **described,
        "card": PriorCard.model_validate(card or {}).model_dump(mode="json"),
    }
    write_tensors(folder / PRIOR_FILE, tensors, header={PRIOR_KEY: header})
    return fingerprint


def load_prior(path: str | Path, *, device: str | torch.device = "auto") -> Prior | CodingPrior:
    """The prior in a folder, a run folder (its best) or a file; in eval mode.

    Args:
        device: auto (CUDA where present), cpu or cuda.

    Raises:
        UserError: there is none, or its file is damaged or newer than this version.
    """
    target, path = resolve_device(str(device)), _find(Path(path))
    tensors, headers = read_tensors(path)
    tree = headers.get(PRIOR_KEY)
    if not isinstance(tree, dict) or not isinstance(tree.get("format"), int):
        raise UserError(f"{path} holds no prior: it was not written by this toolkit")
    if tree["format"] > FORMAT:
        raise UserError(
            f"{path} is of prior format {tree['format']}, this version reads up to {FORMAT}: upgrade vq-codec"
        )
    header = parse_config(PriorHeader, tree, origin=str(path))
    described = {key: tree[key] for key in ("config", "geometry", "model_fingerprint")}
    if fingerprint_of(described, tensors) != header.fingerprint:
        raise UserError(f"{path} does not match its fingerprint {header.fingerprint}: the file is damaged")
    prior = build_prior(header.config, header.geometry)
    fill(prior, tensors, path)
    prior.name, prior.fingerprint, prior.model_fingerprint = header.name, header.fingerprint, header.model_fingerprint
    if isinstance(prior, CodingPrior):
        prior.shares = header.card.shares
    return prior.to(target).eval().requires_grad_(False)


def load_coding_prior(name_or_folder: str | Path) -> CodingPrior:
    """A prior that files are coded with: a bundled one by name, or as `load_prior`, which see for errors."""
    bundled = PRETRAINED / str(name_or_folder) / PRIOR_FILE
    prior = load_prior(bundled if bundled.is_file() else name_or_folder, device="cpu")
    if not isinstance(prior, CodingPrior):
        raise UserError(
            f"prior {prior.name!r} has no integers to code with: "
            "run codec train RECIPE --stage prior, then name RUN/coding"
        )
    return prior


def bundled_priors() -> list[str]:
    """Names of the priors in the package."""
    return sorted(path.parent.name for path in PRETRAINED.glob(f"*/{PRIOR_FILE}"))


def _find(path: Path) -> Path:
    for candidate in (path / PRIOR_FILE, path / "checkpoints" / "best" / PRIOR_FILE, path):
        if candidate.is_file():
            return candidate
    raise UserError(f"no prior {str(path)!r}: give a folder with {PRIOR_FILE}, or the file itself")
