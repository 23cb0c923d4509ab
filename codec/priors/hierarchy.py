"""All levels of a pyramid, coarse to fine, each from its own prior."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from codec.core.errors import UserError
from codec.priors.base import Condition, NeuralPrior
from codec.priors.sampling import sample


def sample_levels(
    priors: Sequence[NeuralPrior],
    size: tuple[int, ...],
    *,
    generator: torch.Generator,
    labels: Tensor | None = None,
    batch: int = 1,
    temperature: float = 1.0,
    top_k: int | None = None,
) -> tuple[Tensor, ...]:
    """Codes `[batch, q, *space]` of every level, for signals of `size` samples or pixels (Razavi et al. 2019, alg. 2).

    Args:
        priors: of the levels from the coarsest on, each given all levels above its own.
        labels: classes `[batch]`, for the priors that have any.

    Raises:
        UserError: the priors are not those of one pyramid, and as `sample`.
    """
    above: tuple[Tensor, ...] = ()
    grids = tuple(prior.geometry.level for prior in priors)
    for index, prior in enumerate(priors):
        if prior.geometry.coarser != grids[:index] or prior.model_fingerprint != priors[0].model_fingerprint:
            raise UserError(f"prior {index} is not of the level below the others: give one model's, coarse to fine")
        condition = Condition(labels if prior.geometry.num_classes else None, above)
        extents = tuple(-(-extent // prior.geometry.level.downsample_factor) for extent in size)
        codes = sample(
            prior,
            extents,
            generator=generator,
            condition=condition,
            batch=batch,
            temperature=temperature,
            top_k=top_k,
        )
        above = (*above, codes)
    return above
