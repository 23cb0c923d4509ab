"""Priors that know how often a signal has each code: what a file of it is then the smaller for."""

from __future__ import annotations

import torch
from torch import Tensor

from codec.core.grid import Grid
from codec.priors.base import Geometry
from codec.priors.coding import CodingPrior
from codec.priors.context import ContextConfig, ContextPrior
from codec.priors.integer_export import to_integer


def fitted_prior(levels: tuple[Tensor, ...], model, *, heads: tuple[str, ...]) -> CodingPrior:
    """The integers of a prior for the codes `levels` `[b, q, *space]` of `model`, with one head for each level.

    It expects every code as often as it is there. What it sees of the codes before moves that a little, at random.
    """
    grids = tuple(Grid.of(level) for level in model.levels)
    priors = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for index, (codes, head) in enumerate(zip(levels, heads, strict=True)):
            geometry = Geometry(ndim=1 if codes.dim() == 3 else 2, level=grids[index], coarser=grids[:index])
            groups = tuple({"codebooks": 1, "phases": 3, "hidden": 4} for _ in range(grids[index].num_codebooks))
            config = ContextConfig.model_validate({"head": head, "groups": groups, "embedding_dim": 2})
            priors.append(_fitted(ContextPrior(config, geometry), codes))
    coding = to_integer(*priors)
    coding.name, coding.fingerprint, coding.model_fingerprint = "by-heart", "c" * 16, model.fingerprint
    return coding


@torch.no_grad()
def _fitted(prior: ContextPrior, codes: Tensor) -> ContextPrior:
    for parameter in prior.networks.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.05)
    networks = iter(prior.networks)
    for book in codes.unbind(1):
        for _ in range(3):
            next(networks).get_parameter("output_rate.weight")[0] = _expected(prior, book.flatten())
    return prior.eval()


def _expected(prior: ContextPrior, codes: Tensor) -> Tensor:
    """Outputs that say how often `codes` are what."""
    if prior.context.head == "ordinal":
        values = codes.double() - (prior.geometry.level.codebook_size - 1) / 2
        return torch.stack((values.mean(), (values.std() * 0.55).log()))
    counts = torch.bincount(codes, minlength=prior.geometry.level.codebook_size)
    return (counts + 0.1).log()
