"""How common the codes are that are chosen for files, at every rate: counted, and saved in `checkpoints/best`."""

from __future__ import annotations

import torch
from pipeline import STAGES, Recipe, rated_quantizer
from rich.progress import Progress
from torch import Tensor

from codec.checkpoint import save_model
from codec.core.errors import UserError
from codec.data.loader import TrainingBatches
from codec.models.single_level import SingleLevelCodec
from codec.quantize.residual import MOST_COUNTED
from codec.train.sound_start import real_codes


def main(config: str | None, overrides: list[str], run: str | None, resume: bool) -> None:
    """Count them in training data as it is, not changed at random; it is the model's once and for all.

    Args: as of the stage `train`; `config` is the run's own if None. With `resume`, what is counted is let be.

    Raises:
        UserError: the model's search does not weigh rates, or its codes have been counted, and not `resume`.
    """
    folder, recipe, model = STAGES.trained_run(config, overrides, run)
    quantizer = rated_quantizer(model)
    if quantizer is None or not isinstance(model, SingleLevelCodec):
        raise UserError("codes are counted for model.quantizer.rate_weight, which this run's model does not have")
    if quantizer.encoded_counts() is not None:
        if not resume:
            raise UserError(f"the codes of {folder} are counted: pass --resume to leave them, or train anew")
        return
    latents = _latents(model, recipe)
    with Progress() as bar:
        task = bar.add_task("counting codes", total=quantizer.num_codebooks)
        quantizer.count_searched(latents, progress=lambda done, _: bar.update(task, completed=done))
    fingerprint = save_model(model, folder / "checkpoints" / "best", name=model.name)
    print(f"{folder}: codes counted in {latents.shape[2]} frames, model {fingerprint}")


@torch.no_grad()
def _latents(model: SingleLevelCodec, recipe: Recipe) -> Tensor:
    """Of training data, `[1, latent_dim, n]`."""
    data = recipe.data.model_copy(update={"gain_db": None, "tilt_db": None, "mix_probability": 0.0})
    device, rows = model.histogram.device, []
    for _, batch in TrainingBatches(data, model.media, seed=recipe.loop.seed).prefetch(0):
        latents = model.encoder(batch.signal.to(device)).movedim(1, -1)
        rows.append(latents[real_codes(model, batch).to(device)])
        if sum(map(len, rows)) >= MOST_COUNTED:
            break
    return torch.cat(rows)[:MOST_COUNTED].T[None]
