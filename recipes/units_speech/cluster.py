"""Other numbers of units, found by k-means on the latents of the trained model, or on features alone."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline import Cause, Recipe, clustering_run, recordings
from torch import Tensor

from codec.checkpoint.units import save_units
from codec.core.errors import UserError
from codec.data.loader import train_entries
from codec.data.manifest import Entry
from codec.models.build_units import build_units
from codec.models.units import UnitModel
from codec.quantize.ema import EMAConfig
from codec.train.clusters import check_enough, draw_latents, find_codebook, set_codebook
from codec.train.compensation import add_compensation, compensation_for_recordings, compensation_for_segments


def main(config: str | None, overrides: list[str], run: str | None, resume: bool) -> None:
    """Write a model for each of `num_units` into `units/NUMBER` of the run folder.

    Args: as of the stage `train`; `config` is the run's own if None.

    Raises:
        UserError: as `clustering_run`, or there is less speech than units, or too little to compensate latents; or
            `compensate_for` is of latents that are not compensated.
    """
    folder, recipe, model = clustering_run(config, overrides, run)
    if recipe.compensate_for != ("recordings",) and not recipe.model.compensate_latents:
        raise UserError("compensate_for is of latents that are compensated: set model.compensate_latents=true, too")
    entries = train_entries(recipe.data, recipe.media)
    models = [_with_units(recipe, size, model) for size in recipe.num_units]
    rows = draw_latents(models[0], recordings(recipe, entries), still=recipe.still, seed=recipe.loop.seed)
    check_enough(len(rows), max(recipe.num_units))
    if recipe.model.compensate_latents:
        for cause in recipe.compensate_for:
            found = _compensation(recipe, cause, models[0], entries, rows)
            rows = rows @ found.T
            for clustered in models:
                add_compensation(clustered, found)
    for size, clustered in zip(recipe.num_units, models, strict=True):
        set_codebook(clustered, find_codebook(rows, size, seed=recipe.loop.seed))
        target = folder / "units" / str(size)
        fingerprint = save_units(clustered, target, name=f"{folder.name}-{size}")
        print(f"{target}: {size} units, {clustered.frame_rate:g} a second, {fingerprint}")


def _compensation(recipe: Recipe, cause: Cause, model: UnitModel, entries: Sequence[Entry], rows: Tensor) -> Tensor:
    """The map `[d, d]` for `cause` of the latents of `model`, of which `rows` were drawn."""
    if cause == "segments":
        return compensation_for_segments(model, recordings(recipe, entries))
    return compensation_for_recordings(model, recordings(recipe, entries), rows, seed=recipe.loop.seed)


def _with_units(recipe: Recipe, size: int, trained: UnitModel) -> UnitModel:
    """What `trained` has learnt, with a codebook of `size` that is still to be found."""
    model = build_units(recipe.model.model_copy(update={"quantizer": EMAConfig(codebook_size=size)})).eval()
    for name, part in trained.named_children():
        if name != "quantizer":
            model.get_submodule(name).load_state_dict(part.state_dict())
    return model.to(next(trained.buffers()).device)
