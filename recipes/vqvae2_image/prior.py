"""Priors over the stored codes: one per level to sample from (`priors`), and one to code files with (`coding`)."""

from __future__ import annotations

from typing import cast

from pipeline import STAGES

from codec.checkpoint.prior import load_prior, save_prior
from codec.core import dist
from codec.priors.context import ContextPrior
from codec.priors.integer_export import to_integer
from codec.train.prior_run import train_prior
from codec.train.stages import codes_of


def main(config: str | None, overrides: list[str], run: str | None, resume: bool) -> None:
    """Train the priors level by level, coarse to fine, then those to code with, which become one of integers.

    Args: as of the stage `train`; `config` is the run's own if None. With `resume`, priors that are done are let be,
        and the one that was being trained goes on.

    Raises:
        UserError: there are no codes, or codes or priors are those of another model.
    """
    folder, recipe, model = STAGES.trained_run(config, overrides, run)
    store = codes_of(model, folder)
    unlabelled = store.without_classes()
    for kind, trainings, codes in (("priors", recipe.priors, store), ("coding", recipe.coding, unlabelled)):
        for level, (name, training) in enumerate(trainings.items()):
            if not train_prior(training, codes, level, folder / kind / name, resume=resume):
                return
    if dist.rank():
        return
    trained = [cast(ContextPrior, load_prior(folder / "coding" / name, device="cpu")) for name in recipe.coding]
    coding = to_integer(*trained)
    fingerprint = save_prior(coding, folder / "coding", name=model.name, model_fingerprint=model.fingerprint)
    print(f"{folder / 'coding'}: prior {fingerprint} to code with: codec encode --prior {folder / 'coding'}")
