"""Other numbers of units, found by k-means on the latents of the trained model, or on features alone."""

from __future__ import annotations

from pipeline import Recipe, clustering_run, recordings

from codec.checkpoint.units import save_units
from codec.data.loader import train_entries
from codec.models.build_units import build_units
from codec.models.units import UnitModel
from codec.quantize.ema import EMAConfig
from codec.train.clusters import (
    check_enough,
    draw_latents,
    find_codebook,
    find_compensation,
    set_codebook,
    set_compensation,
)


def main(config: str | None, overrides: list[str], run: str | None, resume: bool) -> None:
    """Write a model for each of `num_units` into `units/NUMBER` of the run folder.

    Args: as of the stage `train`; `config` is the run's own if None.

    Raises:
        UserError: nothing has been trained there, or there is less speech than units.
    """
    folder, recipe, model = clustering_run(config, overrides, run)
    entries = train_entries(recipe.data, recipe.media)
    models = [_with_units(recipe, size, model) for size in recipe.num_units]
    rows = draw_latents(models[0], recordings(recipe, entries), still=recipe.still, seed=recipe.loop.seed)
    check_enough(len(rows), max(recipe.num_units))
    if recipe.model.compensate_latents:
        compensation = find_compensation(models[0], recordings(recipe, entries), rows, seed=recipe.loop.seed)
        rows = rows @ compensation.T
        for clustered in models:
            set_compensation(clustered, compensation)
    for size, clustered in zip(recipe.num_units, models, strict=True):
        set_codebook(clustered, find_codebook(rows, size, seed=recipe.loop.seed))
        target = folder / "units" / str(size)
        fingerprint = save_units(clustered, target, name=f"{folder.name}-{size}")
        print(f"{target}: {size} units, {clustered.frame_rate:g} a second, {fingerprint}")


def _with_units(recipe: Recipe, size: int, trained: UnitModel) -> UnitModel:
    """What `trained` has learnt, with a codebook of `size` that is still to be found."""
    model = build_units(recipe.model.model_copy(update={"quantizer": EMAConfig(codebook_size=size)})).eval()
    for name, part in trained.named_children():
        if name != "quantizer":
            model.get_submodule(name).load_state_dict(part.state_dict())
    return model.to(next(trained.buffers()).device)
