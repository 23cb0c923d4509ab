"""Finding the config that a recipe was asked for."""

from __future__ import annotations

from pathlib import Path

from codec.core.errors import UserError
from codec.train.run import RunFolder

DEFAULT_PRESET = "cpu.yaml"


def find_preset(config: str | None, recipe: Path, *, run: RunFolder) -> Path:
    """The YAML file behind `config`: a file, or a preset in the `recipe` folder, with or without `.yaml`.

    With no `config` a resumed run goes on with its own, and a new one starts from the recipe's `cpu.yaml`.

    Raises:
        UserError: there is no such file, or none to start from; the message lists the presets.
    """
    if config is None and run.resume:
        return run.config_path
    named = (Path(config), recipe / config, recipe / f"{config}.yaml") if config else (recipe / DEFAULT_PRESET,)
    for path in named:
        if path.is_file():
            return path
    presets = ", ".join(sorted(path.name for path in recipe.glob("*.yaml")))
    lack = f"no config {config!r}" if config else "no config was named with --config"
    raise UserError(f"{lack}: give a YAML file or a preset of this recipe ({presets})")
