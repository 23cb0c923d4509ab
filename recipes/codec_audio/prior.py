"""A prior over the stored codes, which becomes one of integers, to code files with: in `coding`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from pipeline import STAGES, signal_of
from torch import Tensor

from codec.checkpoint.prior import load_prior, save_prior
from codec.core import dist
from codec.core.errors import UserError
from codec.core.wording import counted
from codec.data.code_store import count_codes
from codec.data.loader import validation_entries
from codec.data.manifest import Entry
from codec.files.payload import ChunkCoder
from codec.models.base import CodecModel
from codec.priors.base import NeuralPrior
from codec.priors.frame_coding import FrameCodingPrior
from codec.priors.frame_export import frames_to_integers
from codec.priors.frames import FramePrior
from codec.train.prior_run import train_prior
from codec.train.stages import codes_of

TOLD_ENTRIES = 20  # recordings of the validation split, or a few more, to tell what the prior is worth,
TOLD_SECONDS = 10  # and of each the beginning


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
    card = {"shares": _shares(coding, model, validation_entries(recipe.data, model.media))}
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


def _shares(prior: FrameCodingPrior, model: CodecModel, entries: Sequence[Entry]) -> dict[int, float]:
    """Of the bits that static tables take of the same recordings, what the prior takes, at every rate; told, too."""
    longest = round(TOLD_SECONDS * model.frame_rate) * model.downsample_factor
    some = entries[:: max(1, len(entries) // TOLD_ENTRIES)]
    signals = [signal_of(model, entry)[..., :longest] for entry in some]
    shares = {}
    for active in model.rates if signals else ():
        coders = ChunkCoder.of(model, active, None), ChunkCoder.of(model, active, prior)
        codes = [model.encode(signal, num_active=active)[0].cpu().numpy() for signal in signals]
        num_codes = sum(part.size for part in codes)
        bits = [8 * sum(len(coder.encode((part,))[0]) for part in codes) / num_codes for coder in coders]
        shares[active] = round(bits[1] / bits[0], 4)
        print(f"{counted(active, 'codebook')}: {bits[0]:.3f} counted, {bits[1]:.3f} predicted, bits a code")
    return shares
