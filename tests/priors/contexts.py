"""Small context priors over every kind of code, untrained and trained, and codes that follow a pattern."""

from __future__ import annotations

import torch
from torch import Tensor

from codec.core.grid import Grid
from codec.priors.base import Condition, Geometry
from codec.priors.coding import ContextCodingPrior
from codec.priors.context import ContextConfig, ContextPrior
from codec.priors.context_order import ContextGroup
from codec.priors.integer_export import to_integer

GROUPS = (ContextGroup(codebooks=1, phases=5, hidden=8, kernel=5), ContextGroup(codebooks=2, phases=2, hidden=6))
CASES = {
    "digits": ContextConfig(head="ordinal", groups=GROUPS, rates=(1, 3)),
    "codes": ContextConfig(head="categorical", groups=GROUPS, embedding_dim=2),
}
COARSER = (Grid(num_codebooks=2, codebook_size=4, downsample_factor=8),)


def geometry(ndim: int = 2, *, size: int = 9, coarser: tuple[Grid, ...] = ()) -> Geometry:
    """Three codebooks of `size` codes, of factor 4."""
    level = Grid(num_codebooks=3, codebook_size=size, downsample_factor=4)
    return Geometry(ndim=1 if ndim == 1 else 2, level=level, coarser=coarser)


def context_prior(case: str, where: Geometry, *, seed: int = 0) -> ContextPrior:
    """An untrained prior with weights that are not small, so that everything it can see moves its predictions."""
    torch.manual_seed(seed)
    prior = ContextPrior(CASES[case], where)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return prior.eval()


def coding_prior(case: str, ndim: int = 2, *, size: int = 9, seed: int = 0) -> ContextCodingPrior:
    """The integers of an untrained prior of one level."""
    return to_integer(context_prior(case, geometry(ndim, size=size), seed=seed))


def pyramid_prior(case: str, ndim: int = 2) -> ContextCodingPrior:
    """The integers of untrained priors of two levels, the finer given the coarser."""
    groups = (ContextGroup(codebooks=2, phases=3, hidden=5),)
    top = Geometry(ndim=1 if ndim == 1 else 2, level=COARSER[0])
    torch.manual_seed(1)
    coarse = ContextPrior(ContextConfig(groups=groups, embedding_dim=3), top)
    return to_integer(coarse.eval(), context_prior(case, geometry(ndim, coarser=COARSER)))


def random_codes(shape: tuple[int, ...], size: int, *, seed: int = 0) -> Tensor:
    """Uniform codes."""
    return torch.randint(size, shape, generator=torch.Generator().manual_seed(seed))


def smooth_codes(shape: tuple[int, ...], size: int, *, seed: int = 0) -> Tensor:
    """Codes `[b, q, *space]` that follow those around them, the later codebooks nearly always in the middle."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator)
    for axis in range(2, len(shape)):
        values = values + 1.5 * values.roll(1, axis) + values.roll(2, axis)
    scale = torch.tensor([0.5, 0.25, 0.05]).view(1, -1, *[1] * (len(shape) - 2))
    return ((values * scale + (size - 1) / 2).round().long()).clamp(0, size - 1)


def trained_prior(case: str, *, size: int = 9, steps: int = 60) -> ContextPrior:
    """A prior that has learnt the pattern of `smooth_codes`."""
    torch.manual_seed(0)
    prior = ContextPrior(CASES[case], geometry(size=size))
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.02)
    for step in range(steps):
        loss = prior.nll(smooth_codes((4, 3, 16, 16), size, seed=step + 1), Condition()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return prior.eval()
