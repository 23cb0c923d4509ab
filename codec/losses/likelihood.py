"""Negative log-likelihood of a picture under its decoder, and what the whole picture costs in bits."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from codec.losses.pointwise import masked_mean
from codec.nn.likelihoods import Likelihood


def nll_per_dim(likelihood: Likelihood, outputs: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean nats per dimension (value of a channel at a position) of `target` `[b, c, *space]`, given `outputs`.

    `mask` `[b, *space]` is True where the target is real.
    """
    nats = likelihood.nll(outputs, target)
    return masked_mean(nats, mask) * (nats.shape[1] / target.shape[1])


def bits_per_dim(
    nats: Tensor, codes: Iterable[tuple[Tensor, int]], target: Tensor, mask: Tensor | None = None
) -> dict[str, Tensor]:
    """A bound of -log2 p(x) of 8-bit pictures, per dimension, in its parts (van den Oord et al. 2017, section 3.1).

    -log2 p(x) <= -log2 p(x | z) - log2 p(z), for the one z that the encoder chooses; p(z) is uniform here, so a code
    costs log2 K bits. Another prior changes that part only.

    Args:
        nats: 0-d, of `nll_per_dim`, by a likelihood of levels.
        codes: of each level, `[b, q, *space]` and the number K of values they take; -1 is no code.

    Returns:
        `bits_per_dim` of the picture given its codes, `code_bits_per_dim` of these, `bound_bits_per_dim`, their sum.
    """
    dims = target.numel() if mask is None else mask.sum() * target.shape[1]
    given_codes = nats.detach() / math.log(2)
    of_codes = code_bits_uniform(codes) / dims
    return {
        "bits_per_dim": given_codes,
        "code_bits_per_dim": of_codes,
        "bound_bits_per_dim": given_codes + of_codes,
    }


def code_bits_uniform(codes: Iterable[tuple[Tensor, int]]) -> Tensor:
    """Bits of all codes, 0-d, each level `[b, q, *space]` with the number K of values: log2 K for every code."""
    return torch.stack([(level >= 0).sum() * math.log2(size) for level, size in codes]).sum()
