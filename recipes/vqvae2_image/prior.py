"""Priors over the stored codes: one per level to sample from (`priors`), and one to code files with (`coding`)."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from pipeline import PriorTraining, codes_of, trained_run

from codec.checkpoint.prior import load_prior, save_prior
from codec.core import dist
from codec.core.config import load_config
from codec.core.errors import UserError
from codec.data.code_batches import TrainingCodes, ValidationCodes
from codec.data.code_store import CodeStore
from codec.priors.build import build_neural_prior
from codec.priors.context import ContextPrior
from codec.priors.integer_export import to_integer
from codec.train import RunFolder, train
from codec.train.fabric import build_fabric
from codec.train.prior_task import PriorTask, geometry_of
from codec.train.run import read_metrics


class Record(PriorTraining):
    """What the run of one prior records: its training, and of which model the codes are."""

    model_fingerprint: str


def main(config: str | None, overrides: list[str], run: str | None, resume: bool) -> None:
    """Train the priors level by level, coarse to fine, then those to code with, which become one of integers.

    Args: as of the stage `train`; `config` is the run's own if None. With `resume`, priors that are done are let be,
        and the one that was being trained goes on.

    Raises:
        UserError: there are no codes, or codes or priors are those of another model.
    """
    folder, recipe, model = trained_run(config, overrides, run)
    store = codes_of(model, folder)
    unlabelled = store.without_classes()
    for kind, trainings, codes in (("priors", recipe.priors, store), ("coding", recipe.coding, unlabelled)):
        for level, (name, training) in enumerate(trainings.items()):
            if not _fit(training, codes, level, folder / kind / name, resume=resume):
                return
    if dist.rank():
        return
    trained = [cast(ContextPrior, load_prior(folder / "coding" / name, device="cpu")) for name in recipe.coding]
    coding = to_integer(*trained)
    fingerprint = save_prior(coding, folder / "coding", name=model.name, model_fingerprint=model.fingerprint)
    print(f"{folder / 'coding'}: prior {fingerprint} to code with: codec encode --prior {folder / 'coding'}")


def _fit(training: PriorTraining, store: CodeStore, level: int, path: Path, *, resume: bool) -> bool:
    """Train one prior, or go on with it, and tell its bits; False if it was stopped before its last step."""
    record = Record(**dict(training), model_fingerprint=store.index.fingerprint)
    saved = (path / "checkpoints" / "last.safetensors").exists()
    run = RunFolder(path, resume=resume and saved)
    if run.resume and (of := load_config(Record, run.config_path).model_fingerprint) != record.model_fingerprint:
        raise UserError(f"{path} is of codes of model {of}, not of {record.model_fingerprint}: delete it")
    fabric = build_fabric(training.loop)
    task = PriorTask(build_neural_prior(training.prior, geometry_of(store, level)), store)
    data = TrainingCodes(store, level, batch_size=training.batch_size, seed=training.loop.seed)
    validation = ValidationCodes(store, level, batch_size=training.batch_size)
    progress = train(
        task, fabric=fabric, data=data, validation=validation, config=training.loop, run=run, recipe=record
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
        for name in ("bits_per_code", "bits_per_pixel") if part else ():
            told.append(f"{split} {name} {sum(line[name] for line in part) / len(part):.4f}")
    return f"at step {best}: {', '.join(told)}"
