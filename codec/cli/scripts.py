"""Finding and loading what lies outside the package: recipes and corpus preparations."""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

from codec.core.bundled import recipes_folder
from codec.core.errors import UserError


def recipe_names() -> list[str]:
    """Names of the recipes that come with the toolkit."""
    return sorted(path.parent.name for path in recipes_folder().glob("*/train.py"))


def find_recipe(recipe: str) -> Path:
    """The folder of `recipe`: a bundled name, or, when it holds a slash, the path of a copied folder.

    Raises:
        UserError: there is no such recipe, or the folder holds no `train.py`.
    """
    if os.sep in recipe:
        if not (Path(recipe) / "train.py").is_file():
            raise UserError(f"{recipe} holds no train.py: give a folder made by `codec recipes copy`")
        return Path(recipe)
    if recipe not in recipe_names():
        hint = f", or ./{recipe} for the folder here" if (Path(recipe) / "train.py").is_file() else ""
        raise UserError(f"recipe {recipe!r} is unknown: use one of {', '.join(recipe_names())}{hint}")
    return recipes_folder() / recipe


def load_stage(recipe: Path, stage: str) -> ModuleType:
    """Import the stage of that name: a Python file in the folder `recipe` that has a `main`.

    Raises:
        UserError: there is none; the message lists those that there are.
    """
    stages = sorted(path.stem for path in recipe.glob("*.py") if _has_main(path))
    if stage not in stages:
        raise UserError(f"recipe {recipe.name!r} has no stage {stage!r}: use one of {', '.join(stages)}")
    return load_script(recipe / f"{stage}.py")


def load_script(path: Path) -> ModuleType:
    """Import the Python file `path`; files beside it may be imported by their own names."""
    folder = path.parent.resolve()
    sys.path.insert(0, str(folder))
    for name in {file.stem for file in folder.glob("*.py")} & sys.modules.keys():
        home = Path(getattr(sys.modules[name], "__file__", None) or folder).parent
        if home != folder and (home / "train.py").is_file():  # of another recipe, which has a file of the same name
            del sys.modules[name]
    return _load(f"{path.parent.name}_{path.stem}", path)


def load_package(folder: Path, module: str) -> ModuleType:
    """Import `module` of the package in `folder`, wherever that lies."""
    if folder.name not in sys.modules:
        _load(folder.name, folder / "__init__.py", [str(folder)])
    return import_module(f"{folder.name}.{module}")


def first_sentence(path: Path) -> str:
    """First line of the docstring of the Python file `path`, read without running it."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


def _has_main(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)


def _load(name: str, path: Path, search: list[str] | None = None) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=search)
    assert spec is not None and spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
