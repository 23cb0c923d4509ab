"""`codec train` and `codec recipes`: training by recipe, and taking a recipe away to change it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from codec.cli.scripts import find_recipe, first_sentence, load_stage, recipe_names
from codec.core.bundled import recipes_folder
from codec.core.errors import UserError

app = typer.Typer(no_args_is_help=True, help="List the recipes, or copy one to change it.")


def train(
    recipe: Annotated[str, typer.Argument(help="Name (see `codec recipes list`) or path of a copied folder.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Config overrides, such as loop.steps=500."),
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="Preset of the recipe, or a YAML file. Default: its cpu.yaml, if it has one.")
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            "--run-folder",
            help="Run folder, runs/RECIPE if not given: config, checkpoints, logs.",
            metavar="FOLDER",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run folder's last checkpoint is.")] = False,
    stage: Annotated[
        str, typer.Option(metavar="STAGE", help="Of a recipe that has more than one, such as extract or prior.")
    ] = "train",
) -> None:
    """Train a model by a recipe, or go through another stage of it.

    Works under torchrun: torchrun --nproc-per-node 2 -m codec train RECIPE ...
    There, write --run-folder: torchrun takes --run for an option of its own.
    """
    script = load_stage(find_recipe(recipe), stage)
    script.main(config, list(overrides or []), run, resume)


@app.command("list")
def list_recipes() -> None:
    """List the recipes that come with the toolkit."""
    for name in recipe_names():
        print(f"{name:<20} {first_sentence(recipes_folder() / name / 'train.py')}")


@app.command("copy")
def copy_recipe(
    recipe: Annotated[str, typer.Argument(help="Name of the recipe.")],
    folder: Annotated[Path | None, typer.Argument(help="Where to; ./RECIPE by default.")] = None,
) -> None:
    """Copy a recipe's folder, to change and train it: codec train ./RECIPE."""
    source, target = find_recipe(recipe), folder or Path(recipe)
    if target.exists():
        raise UserError(f"{target} exists already: name another folder")
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    print(f"{target}: train it with `codec train ./{target}`" if not target.is_absolute() else str(target))
