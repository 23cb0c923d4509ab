"""Typed, closed configuration: YAML presets plus `a.b=c` overrides, wrong keys refused before any data is read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from codec.core.atomic import atomic_write_text
from codec.core.errors import UserError


class Config(BaseModel):
    """Base of every config: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: ClassVar[frozenset[str]] = frozenset()
    """Fields that say how weights are trained or used, not what they are."""

    def structure(self) -> dict[str, Any]:
        """What decides which weights there are and what they mean: values by dotted key, `settings` left out."""
        found: dict[str, Any] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if name in self.settings:
                continue
            if isinstance(value, Config):
                found |= {f"{name}.{key}": part for key, part in value.structure().items()}
            else:
                found[name] = value
        return found


ConfigT = TypeVar("ConfigT", bound=Config)


def one_or_more(*kinds: type) -> BeforeValidator:
    """For a field that is a tuple: one value of `kinds` stands for a list of one."""
    return BeforeValidator(lambda value: (value,) if isinstance(value, kinds) else value)


def load_config(cls: type[ConfigT], path: str | Path | None = None, overrides: list[str] | None = None) -> ConfigT:
    """Read `path` (YAML), apply `a.b=c` overrides in order, and validate against `cls`.

    Args:
        path: a YAML file, or None for the defaults of `cls`.
        overrides: each `dotted.key=value`; the value is read as YAML, so `3`, `true`, `[1, 2]` mean what they say.

    Raises:
        UserError: naming the file or the key that is wrong.
    """
    tree = _read_yaml(Path(path)) if path is not None else {}
    for override in overrides or []:
        _apply_override(tree, override)
    sources = [str(path)] if path else []
    sources += ["overrides"] if overrides else []
    return parse_config(cls, tree, origin=" with ".join(sources) or "config")


def parse_config(cls: type[ConfigT], tree: Any, *, origin: str = "config") -> ConfigT:
    """Validate a plain tree (from YAML or JSON) against `cls`; UserError names every wrong key."""
    try:
        return cls.model_validate(tree)
    except ValidationError as error:
        problems = "; ".join(_describe(problem, tree) for problem in error.errors())
        raise UserError(f"{origin}: {problems}") from None


def read_index(cls: type[ConfigT], path: Path, *, newest: int, missing: str, damaged: str) -> ConfigT:
    """What the JSON file `path` says of the folder it lies in; its `format` counts versions of the folder.

    Args:
        newest: the last version that can be read.
        missing: what is not there without the file, and what to do; `damaged`: what to do if it cannot be read.

    Raises:
        UserError: the file is missing, damaged or of a newer version.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.parent} holds no {missing}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): {damaged}") from None
    found = tree.get("format") if isinstance(tree, dict) else None
    if isinstance(found, int) and found > newest:
        raise UserError(f"{path.parent} is of format {found}, this version reads up to {newest}: upgrade vq-codec")
    return parse_config(cls, tree, origin=str(path))


def save_config(config: Config, path: str | Path) -> None:
    """Write `config` whole, defaults included, as YAML."""
    atomic_write_text(path, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(f"cannot read config {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is not valid YAML: {reason}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(f"{path} holds a {type(tree).__name__}; a config is a mapping of keys")
    return tree


def _apply_override(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise UserError(f"override {override!r} is not of the form key.sub=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"override {override!r}: the value is not valid YAML") from None
    *parents, last = key.strip().split(".")
    for name in parents:
        child = tree.setdefault(name, {})
        if not isinstance(child, dict):
            raise UserError(f"override {override!r}: {name!r} holds a value, not a section")
        tree = child
    tree[last] = value


def _key_in(tree: Any, place: Sequence[str | int]) -> str:
    """The dotted key of `place` as it was written in `tree`: without the kinds that pydantic puts between."""
    parts: list[str] = []
    for number, part in enumerate(place, 1):
        inside = part in tree if isinstance(tree, dict) else isinstance(part, int)
        if inside or number == len(place):
            parts.append(str(part))
        if inside and isinstance(tree, dict | list | tuple):
            tree = tree[part]  # pyright: ignore
    return ".".join(parts)


def _describe(problem: Any, tree: Any) -> str:
    key = _key_in(tree, problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}"
    if problem["type"] == "missing":
        return f"{key!r} is missing"
    if problem["type"] == "union_tag_not_found":
        return f"{key!r} has no 'kind'"
    if problem["type"] == "union_tag_invalid":
        return f"{key!r} has kind {problem['ctx']['tag']!r}: wanted one of {problem['ctx']['expected_tags']}"
    message = problem["msg"].removeprefix("Value error, ")
    if not key:  # a combination of keys, which the message names
        return message
    if isinstance(problem["input"], dict):
        return f"{key!r}: {message}"
    return f"{key!r} is {problem['input']!r}: {message}"
