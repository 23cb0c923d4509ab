"""Training one prior on stored codes in a folder of its own, to be resumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import PositiveInt

from codec.core.config import Config, load_config
from codec.core.errors import UserError
from codec.data.code_batches import TrainingCodes, ValidationCodes
from codec.data.code_store import CodeStore
from codec.priors.base import NeuralPrior
from codec.priors.build import NeuralConfig, build_neural_prior
from codec.train.config import LoopConfig
from codec.train.fabric import build_fabric
from codec.train.loop import train
from codec.train.prior_task import PriorTask, geometry_of
from codec.train.run import RunFolder, read_metrics


class PriorTraining(Config):
    """One prior, and how it is trained on the stored codes."""

    prior: NeuralConfig
    batch_size: PositiveInt
    loop: LoopConfig


class PriorRecord(PriorTraining):
    """What the run of one prior records: its training, and of which model the codes are."""

    model_fingerprint: str


def train_prior(
    training: PriorTraining,
    store: CodeStore,
    level: int,
    path: Path,
    *,
    resume: bool,
    prepare: Callable[[NeuralPrior], None] | None = None,
) -> bool:
    """Train a prior on `level` of `store` in the run folder `path`, or go on with it, and tell its bits.

    Args:
        prepare: called with a prior that has learnt nothing yet, to begin with what is known.

    Returns:
        False if it was stopped before its last step.

    Raises:
        UserError: the run to resume is of codes of another model.
    """
    record = PriorRecord(**dict(training), model_fingerprint=store.index.fingerprint)
    run = RunFolder.of_stage(path, resume=resume)
    if run.resume and (of := load_config(PriorRecord, run.config_path).model_fingerprint) != record.model_fingerprint:
        raise UserError(f"{path} is of codes of model {of}, not of {record.model_fingerprint}: delete it")
    fabric = build_fabric(training.loop)
    prior = build_neural_prior(training.prior, geometry_of(store, level))
    if prepare:
        prepare(prior)
    data = TrainingCodes(store, level, batch_size=training.batch_size, seed=training.loop.seed)
    validation = ValidationCodes(store, level, batch_size=training.batch_size)
    progress = train(
        PriorTask(prior, store),
        fabric=fabric,
        data=data,
        validation=validation,
        config=training.loop,
        run=run,
        recipe=record,
    )
    fabric.barrier()  # only the first process writes; from here on all may read
    if fabric.is_global_zero:
        print(f"{path}: {_bits(run)}")
    return progress.step >= training.loop.steps


def _bits(run: RunFolder) -> str:
    """Bits of both splits where validation was best, training averaged over the tenth of the steps before."""
    lines = read_metrics(run)
    tested = [line for line in lines if line["split"] == "validation"]
    best = min(tested, key=lambda line: line["nll"])["step"] if tested else lines[-1]["step"]
    near = [line for line in lines if line["split"] == "train" and 0.9 * best <= line["step"] <= best]
    told = []
    for split, part in (("train", near), ("validation", [line for line in tested if line["step"] == best])):
        for name in ("bits_per_code", "bits_per_pixel", "bits_per_sample"):
            if part and name in part[0]:
                told.append(f"{split} {name} {sum(line[name] for line in part) / len(part):.4f}")
    return f"at step {best}: {', '.join(told)}"
