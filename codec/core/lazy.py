"""Names of a package that are imported when they are first used, so that nobody waits for what is not needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, places: Mapping[str, tuple[str, str]]) -> Callable[[str], Any]:
    """A `__getattr__` for `package` that imports each name from its place, `(module, attribute)`."""

    def get(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, attribute = places[name]
        return getattr(import_module(module), attribute)

    return get
