"""Other numbers of units, found by k-means on the latents of the trained model, or on features alone."""

from __future__ import annotations

from pipeline import clustering_run
from rich.progress import track

from codec.checkpoint.units import save_units
from codec.data.audio import read_audio
from codec.data.loader import train_entries
from codec.models.build_units import build_units
from codec.train.clusters import find_codebook, set_codebook


def main(config: str | None, overrides: list[str], run: str | None, resume: bool) -> None:
    """Write a model for each of `num_units` into `units/NUMBER` of the run folder.

    Args: as of the stage `train`; `config` is the run's own if None.

    Raises:
        UserError: nothing has been trained there, or there is less speech than units.
    """
    folder, recipe, model = clustering_run(config, overrides, run)
    entries = train_entries(recipe.data, recipe.media)
    recordings = [
        read_audio(entry.path, sample_rate=recipe.model.sample_rate, channels=1)[0]
        for entry in track(entries, description="reading")
    ]
    recordings = [recording for recording in recordings if recording.shape[1] >= recipe.model.downsample_factor]
    for size in recipe.num_units:
        quantizer = recipe.model.quantizer.model_copy(update={"codebook_size": size})
        clustered = build_units(recipe.model.model_copy(update={"quantizer": quantizer}))
        clustered.encoder.load_state_dict(model.encoder.state_dict())
        set_codebook(clustered, find_codebook(model, recordings, size, seed=recipe.loop.seed))
        target = folder / "units" / str(size)
        fingerprint = save_units(clustered, target, name=f"{folder.name}-{size}")
        print(f"{target}: {size} units, {clustered.frame_rate:g} a second, {fingerprint}")
