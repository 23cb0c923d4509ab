"""Small frame priors, untrained and trained, and codes that follow each other."""

from __future__ import annotations

import torch
from torch import Tensor

from codec.core.grid import Grid
from codec.priors.base import Condition, Geometry
from codec.priors.frame_coding import FrameCodingPrior
from codec.priors.frame_export import frames_to_integers
from codec.priors.frames import FrameConfig, FramePrior

BOOKS = 3
CASES = {
    "two layers": FrameConfig(embedding_dim=4, hidden=6, features=5, kernel=2, dilations=(1, 3)),
    "one layer": FrameConfig(embedding_dim=3, hidden=5, features=4, kernel=3, dilations=()),
}


def geometry(size: int = 9) -> Geometry:
    """Three codebooks over time."""
    return Geometry(ndim=1, level=Grid(num_codebooks=BOOKS, codebook_size=size, downsample_factor=4))


def frame_prior(case: str, *, size: int = 9, scale: float = 1.0) -> FramePrior:
    """An untrained prior with weights that are not small, so that everything it can see moves its predictions."""
    torch.manual_seed(0)
    prior = FramePrior(CASES[case], geometry(size))
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.copy_(torch.randn_like(parameter) * scale)
    return prior.eval()


def frame_coding(case: str, *, size: int = 9, scale: float = 1.0) -> FrameCodingPrior:
    """Its integers."""
    return frames_to_integers(frame_prior(case, size=size, scale=scale))


def following_codes(rows: int, frames: int, *, size: int = 9, seed: int = 0) -> Tensor:
    """Codes `[rows, 3, frames]`: the first walks, the second is near the first, the third is nearly the one before."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randint(-1, 2, (rows, BOOKS, frames), generator=generator)
    first = steps[:, 0].cumsum(1)
    return torch.stack((first, first + steps[:, 1], first.roll(1, 1) * 2 + steps[:, 2]), 1) % size


def trained_prior(case: str, *, steps: int = 150) -> FramePrior:
    """A prior that has learnt the pattern of `following_codes`."""
    torch.manual_seed(0)
    prior = FramePrior(CASES[case].model_copy(update={"hidden": 32, "embedding_dim": 16, "features": 16}), geometry())
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.01)
    for step in range(steps):
        loss = prior.nll(following_codes(8, 64, seed=step + 1), Condition()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return prior.eval()
