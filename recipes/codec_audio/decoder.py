"""The decoder learns on alone, from codes as files hold them, and what it has learnt goes into `checkpoints/best`."""

from __future__ import annotations

from pipeline import STAGES, rated_quantizer

from codec.checkpoint import load_model, save_model
from codec.checkpoint.zoo import MODEL_FILE
from codec.core import dist
from codec.core.config import load_config
from codec.core.errors import UserError
from codec.data.loader import TrainingBatches, ValidationBatches
from codec.train import train
from codec.train.decoder_task import DecoderTask
from codec.train.fabric import build_fabric
from codec.train.run import RunFolder
from codec.train.sound import SoundConfig, sound_task


class DecoderRecord(SoundConfig):
    """What the run records: its training, and with which model it began."""

    model_fingerprint: str


def main(config: str | None, overrides: list[str], run: str | None, resume: bool) -> None:
    """Train it in the folder `decoder`, then put it where the model is.

    Args: as of the stage `train`; `config` is the run's own if None. With `resume`, training goes on.

    Raises:
        UserError: the recipe has no such training, codes have to be counted first, or the training to resume began
            with another model.
    """
    folder, recipe, model = STAGES.trained_run(config, overrides, run)
    if recipe.decoder is None:
        raise UserError("the config has no decoder: take that section from a preset of this recipe")
    quantizer = rated_quantizer(model)
    if quantizer is not None and quantizer.encoded_counts() is None:
        raise UserError("codes are chosen by counts that are not there yet: --stage count comes first")
    own = RunFolder.of_stage(folder / "decoder", resume=resume)
    began = model.fingerprint
    if own.resume:
        began = load_config(DecoderRecord, own.config_path).model_fingerprint
        learnt = load_model(own.path, device="cpu").fingerprint if (own.best / MODEL_FILE).exists() else began
        if model.fingerprint not in (began, learnt):
            raise UserError(f"{own.path} began with model {began}, this run's is {model.fingerprint}: delete it")
    settings = {name: getattr(recipe, name) for name in SoundConfig.model_fields}
    record = DecoderRecord(**{**settings, "loop": recipe.decoder.loop}, model_fingerprint=began)
    progress = train(
        sound_task(DecoderTask, model.requires_grad_(True), record),
        fabric=build_fabric(record.loop),
        data=TrainingBatches(recipe.data, model.media, seed=record.loop.seed),
        validation=ValidationBatches(recipe.data, model.media),
        config=record.loop,
        run=own,
        recipe=record,
    )
    if progress.step >= record.loop.steps and not dist.rank():
        fingerprint = save_model(load_model(own.path), folder / "checkpoints" / "best", name=model.name)
        print(f"{folder}: the decoder has learnt on, model {fingerprint}")
