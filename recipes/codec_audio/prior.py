"""A prior over the stored codes, which becomes one of integers, to code files with: in `coding`."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from pipeline import STAGES
from torch import Tensor

from codec.checkpoint.prior import load_prior, save_prior
from codec.core import dist
from codec.core.errors import UserError
from codec.data.code_store import CodeStore, count_codes
from codec.files.payload import ChunkCoder
from codec.models.base import CodecModel
from codec.priors.base import NeuralPrior
from codec.priors.frame_coding import FrameCodingPrior
from codec.priors.frame_export import frames_to_integers
from codec.priors.frames import FramePrior
from codec.train.prior_run import train_prior
from codec.train.stages import codes_of

TOLD_ROWS = 200  # of the validation split, to tell what the prior is worth


def main(config: str | None, overrides: list[str], run: str | None, resume: bool) -> None:
    """Train the prior, make integers of it, and tell what it saves.

    Args: as of the stage `train`; `config` is the run's own if None. With `resume`, training goes on.

    Raises:
        UserError: the recipe has no prior, there are no codes, or codes or prior are those of another model.
    """
    folder, recipe, model = STAGES.trained_run(config, overrides, run)
    if recipe.prior is None:
        raise UserError("the config has no prior: take that section from a preset of this recipe")
    store = codes_of(model, folder)
    counts, vectors = torch.from_numpy(count_codes(store, 0)), _vectors(model)

    def prepare(prior: NeuralPrior) -> None:
        cast(FramePrior, prior).start_at(counts, vectors)

    if not train_prior(recipe.prior, store, 0, folder / "prior", resume=resume, prepare=prepare) or dist.rank():
        return
    coding = frames_to_integers(cast(FramePrior, load_prior(folder / "prior", device="cpu")))
    card = {"bits_per_code": _savings(coding, store, model)}
    target = folder / "coding"
    fingerprint = save_prior(coding, target, name=model.name, model_fingerprint=model.fingerprint, card=card)
    print(f"{target}: prior {fingerprint} to code with: codec encode --prior {target}")


@torch.no_grad()
def _vectors(model: CodecModel) -> Tensor:
    """What each code of each codebook adds to the latents: `[q, K, latent_dim]`."""
    (level,), (quantizer,) = model.levels, model.cpu().quantizers
    every, vectors = torch.arange(level.codebook_size), []
    for book in range(level.num_codebooks):
        codes = torch.zeros(1, book + 1, level.codebook_size, dtype=torch.int64)
        codes[0, book] = every
        latents = quantizer.decode(codes)
        before = quantizer.decode(codes[:, :book]) if book else torch.zeros_like(latents)
        vectors.append((latents - before)[0].T)
    return torch.stack(vectors)


def _savings(prior: FrameCodingPrior, store: CodeStore, model: CodecModel) -> dict[int, float]:
    """Bits of a code of the validation rows by number of codebooks, with counts alone and with the prior; told, too."""
    rows: dict[int, list[np.ndarray]] = {}
    for item in store.items_of("validation")[:TOLD_ROWS]:
        codes = store.read(0, item)
        active = int((codes[:, 0] >= 0).sum())
        rows.setdefault(active, []).append(codes[None, :active])
    savings = {}
    for active in sorted(rows):
        counted = ChunkCoder([histogram.cpu().numpy() for histogram in model.code_histograms(active)])
        predicted = ChunkCoder.of(model, active, prior)
        num_codes = sum(codes.size for codes in rows[active])
        bits = [8 * sum(len(coder.encode((codes,))[0]) for codes in rows[active]) for coder in (counted, predicted)]
        savings[active] = round(bits[1] / num_codes, 4)
        told = " counted, ".join(f"{total / num_codes:.3f}" for total in bits)
        print(f"{active} codebooks: {told} predicted, bits a code")
    return savings
