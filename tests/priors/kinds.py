"""A small prior of every neural kind, over codes of every shape, and slow ways to ask it for its probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

from codec.core.grid import Grid
from codec.priors.base import Condition, Geometry, NeuralPrior
from codec.priors.build import RASTER_KINDS, build_neural_prior
from codec.priors.pixelcnn import PixelCNNConfig
from codec.priors.transformer import TransformerConfig

CASES = {
    "pixelcnn": PixelCNNConfig(width=16, blocks=2, layers=2, kernel=5, condition_units=1),
    "pixelcnn with attention": PixelCNNConfig(width=16, blocks=2, layers=1, kernel=3, attention_heads=2),
    "transformer": TransformerConfig(width=16, layers=2, heads=2, condition_units=1),
}
assert {config.kind for config in CASES.values()} == RASTER_KINDS.keys(), "a kind of prior has no case here"

SIZES = {1: (9,), 2: (4, 5)}
BATCH = 2


def geometry(ndim: int, *, num_codebooks: int = 2) -> Geometry:
    """Three levels of codes, of which the finest is modelled, and three classes."""
    return Geometry.model_validate(
        {
            "ndim": ndim,
            "level": Grid(num_codebooks=num_codebooks, codebook_size=6, downsample_factor=2),
            "coarser": (
                Grid(num_codebooks=1, codebook_size=4, downsample_factor=8),
                Grid(num_codebooks=2, codebook_size=5, downsample_factor=4),
            ),
            "num_classes": 3,
        }
    )


def prior_of(case: str, ndim: int, *, num_codebooks: int = 2) -> NeuralPrior:
    """An untrained prior with weights that are not small, so that everything it can see moves its predictions."""
    torch.manual_seed(0)
    prior = build_neural_prior(CASES[case], geometry(ndim, num_codebooks=num_codebooks))
    prior.get_parameter("head.weight").data.mul_(20)
    return prior.eval().double()


def random_codes(shape: tuple[int, ...], size: int, *, seed: int = 0) -> Tensor:
    """Uniform codes."""
    return torch.randint(size, shape, generator=torch.Generator().manual_seed(seed))


def condition_for(prior: NeuralPrior, size: tuple[int, ...], *, batch: int = BATCH, seed: int = 0) -> Condition:
    """Labels and coarser codes for a map of `size`."""
    given = zip(prior.geometry.coarser, prior.geometry.coarser_sizes(size), strict=True)
    coarser = tuple(
        random_codes((batch, grid.num_codebooks, *extents), grid.codebook_size, seed=seed) for grid, extents in given
    )
    return Condition(random_codes((batch,), prior.geometry.num_classes or 1, seed=seed), coarser)


def stepwise_logits(prior: NeuralPrior, codes: Tensor, condition: Condition) -> Tensor:
    """What `step` predicts when it is told the codes of `codes` `[b, q, *space]`: logits `[b, K, q, *space]`."""
    size = tuple(codes.shape[2:])
    state = prior.start(size, condition=condition, batch=len(codes))
    logits: Tensor | None = None
    before: Tensor | None = None
    for group in prior.groups(size):
        predicted, state = prior.step(state, before)
        if logits is None:
            logits = predicted.new_empty(len(codes), predicted.shape[-1], codes[0].numel())
        logits[:, :, group] = predicted.transpose(1, 2)
        before = codes.flatten(1)[:, group]
    assert logits is not None
    return logits.unflatten(2, codes.shape[1:])


def order_of(prior: NeuralPrior, size: tuple[int, ...]) -> Tensor:
    """Flat indices of all codes in the order they are predicted."""
    return torch.cat(list(prior.groups(size)))
