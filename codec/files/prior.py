"""Which coding prior a file is written or read with."""

from __future__ import annotations

import os
from pathlib import Path

from codec.checkpoint.prior import PRIOR_FILE, bundled_priors, load_coding_prior
from codec.core.errors import UserError
from codec.files.errors import UnknownPriorError, WrongPriorError
from codec.files.header import Header
from codec.models.base import CodecModel
from codec.priors.coding import CodingPrior

PriorChoice = CodingPrior | str | os.PathLike[str]
"""A prior, its folder or file, the name of a bundled one, `auto` or `none`."""


def prior_to_write_with(choice: PriorChoice, model: CodecModel) -> CodingPrior | None:
    """The prior of `choice` for `model`'s codes; `auto` is the one that is bundled with the model, or none.

    Raises:
        WrongPriorError: it is about the codes of another model.
    """
    if choice == "none" or (choice == "auto" and model.name not in bundled_priors()):
        return None
    prior = _loaded(model.name if choice == "auto" else choice)
    if prior.model_fingerprint == model.fingerprint:
        return prior
    if choice == "auto":  # a model of one's own that has the name of a bundled one
        return None
    raise WrongPriorError(
        f"prior {prior.name!r} is for the codes of the model with fingerprint {prior.model_fingerprint}, not of "
        f"{model.name!r} ({model.fingerprint}): give that model's prior, or --prior none"
    )


def prior_to_read_with(choice: PriorChoice, header: Header, name: str) -> CodingPrior | None:
    """The prior that the file `name` was written with, if it was with one; `auto` finds a bundled one.

    Raises:
        UnknownPriorError: none was given, and none of that name is bundled.
        WrongPriorError: the one given is another.
    """
    if header.prior is None:
        return None
    wanted = f"{name} was coded with prior {header.prior.name!r} (fingerprint {header.prior.fingerprint})"
    bundled = bundled_priors()
    if choice == "none":
        way_out = "leave --prior out" if header.prior.name in bundled else "give its folder with --prior"
        raise UnknownPriorError(f"{wanted} and cannot be decoded without it: {way_out}")
    if choice == "auto" and header.prior.name not in bundled:
        known = ", ".join(bundled) or "none"
        raise UnknownPriorError(f"{wanted}, which is not bundled ({known}): give its folder with --prior")
    prior = _loaded(header.prior.name if choice == "auto" else choice)
    if prior.fingerprint != header.prior.fingerprint:
        raise WrongPriorError(f"{wanted}, not with {prior.name!r} ({prior.fingerprint}): give that prior with --prior")
    if prior.model_fingerprint != header.fingerprint:
        raise WrongPriorError(f"{wanted}, which is not for the codes of model {header.model!r}: the file is forged")
    return prior


def _loaded(choice: PriorChoice) -> CodingPrior:
    if isinstance(choice, CodingPrior):
        return choice
    try:
        return load_coding_prior(os.fspath(choice))
    except UserError as error:
        if (coding := _coding_folder(Path(choice))) is None:
            raise
        raise UserError(
            f"{choice} holds no prior that files are coded with: give --prior {coding}, which "
            "`codec train RECIPE --stage prior` made"
        ) from error


def _coding_folder(path: Path) -> Path | None:
    """The prior to code with that a recipe's stage `prior` left in the run folder that `path` is, or is in."""
    within = (path, *path.parents)
    places = [run / "coding" for run in within if (run / "coding" / PRIOR_FILE).is_file()]
    return places[0] if path.exists() and places and places[0] not in within else None
