"""Where models are found: bundled in the package by name, or in any folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codec.checkpoint.store import read_header
from codec.core.errors import UserError

MODEL_FILE = "model.safetensors"
MODEL_KEY = "codec-model"
UNITS_FILE = "units.safetensors"
UNITS_KEY = "codec-units"
FORMAT = 1
_FIELDS = {"name", "fingerprint", "config", "card"}
PRETRAINED = Path(__file__).resolve().parent.parent / "pretrained"


@dataclass(frozen=True)
class ModelCard:
    """What is known of a bundled model; `facts` holds the rest of its card (data, licence, measured, ...).

    `media` says what goes in: of kind `audio` or `image` for a codec, `units` for speech that is written down in units.
    """

    name: str
    kind: str
    media: dict[str, Any]
    fingerprint: str
    bytes: int
    facts: dict[str, Any] = field(default_factory=dict)


def list_models() -> list[ModelCard]:
    """The bundled codecs, by name."""
    return [read_card(path) for path in sorted(PRETRAINED.glob(f"*/{MODEL_FILE}"))]


def list_units() -> list[ModelCard]:
    """The bundled models of speech units, by name."""
    return [read_card(path, key=UNITS_KEY) for path in sorted(PRETRAINED.glob(f"*/{UNITS_FILE}"))]


def read_card(path: Path, *, key: str = MODEL_KEY) -> ModelCard:
    """The card in the header of a model file; errors as `model_header`."""
    header = model_header(path, read_header(path), key)
    config = header["config"]
    return ModelCard(
        name=header["name"],
        kind=config["kind"],
        media=config.get("media") or {"kind": "units", "channels": 1, "sample_rate": config["sample_rate"]},
        fingerprint=header["fingerprint"],
        bytes=path.stat().st_size,
        facts=header["card"],
    )


def model_header(path: Path, headers: dict[str, Any], key: str = MODEL_KEY) -> dict[str, Any]:
    """What the toolkit wrote about the model under `key` into `headers`, those of the file `path`.

    Raises:
        UserError: nothing, or not what this version reads.
    """
    header = headers.get(key)
    if not isinstance(header, dict) or not isinstance(header.get("format"), int):
        raise UserError(f"{path} holds no model: it was not written by this toolkit")
    if header["format"] > FORMAT:
        raise UserError(
            f"{path} is of model format {header['format']}, this version reads up to {FORMAT}: upgrade vq-codec"
        )
    if missing := _FIELDS - header.keys():
        raise UserError(f"{path} has a header without {', '.join(sorted(missing))}: the file is damaged")
    return header


def find_model(name_or_folder: str | Path, file: str = MODEL_FILE) -> Path:
    """The model file behind a bundled name, a model folder, a run folder (its best) or the file itself.

    Args:
        file: what it is called in its folder.

    Raises:
        UserError: nothing is there; the message lists the bundled names.
    """
    bundled = PRETRAINED / str(name_or_folder) / file
    folder = Path(name_or_folder)
    for path in (bundled, folder / file, folder / "checkpoints" / "best" / file, folder):
        if path.is_file():
            return path
    for other, use in ((MODEL_FILE, "codec encode"), (UNITS_FILE, "codec units encode")):
        if other != file and any((where / other).is_file() for where in (bundled.parent, folder)):
            raise UserError(f"{str(name_or_folder)!r} is a model for {use}, not for this")
    names = ", ".join(sorted(path.parent.name for path in PRETRAINED.glob(f"*/{file}"))) or "none"
    raise UserError(f"no model {str(name_or_folder)!r}: give a folder with {file}, or a bundled name ({names})")
