"""What a context prior sees of a code, and what it says of one: of digits, a logistic; of any others, logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.priors.base import Grid
from codec.priors.embedding import CodeEmbedding

MIN_LOG_SCALE, MAX_LOG_SCALE = -4.0, 6.0


class OrdinalHead(nn.Module):
    """Codes that are digits of a scale: a discretised logistic of a mean and a scale per code.

    A code stands for the value `code - (K - 1) / 2`, which is what the networks see, and has the mass that a logistic
    distribution puts within 1/2 of it (Salimans et al. 2017, section 2.1). Mass beyond the digits is lost.
    """

    num_planes = 1
    num_outputs = 2

    def __init__(self, grid: Grid, width: int):
        super().__init__()
        self.codebook_size = grid.codebook_size

    def planes(self, codes: Tensor) -> Tensor:
        """What is seen of codes `[b, q, *space]`: `[b, q * num_planes, *space]`."""
        return codes.float() - (self.codebook_size - 1) / 2

    def nll(self, outputs: Tensor, codes: Tensor) -> Tensor:
        """Nats of each of `codes` `[b, q, *space]` under `outputs` `[b, num_outputs, q, *space]`."""
        return self.nll_of_values(outputs, self.planes(codes))

    def nll_of_values(self, outputs: Tensor, values: Tensor) -> Tensor:
        """Nats of `values` `[b, q, *space]`, which need not be whole: those of a bin of width 1 around each."""
        mean, log_scale = outputs.float().unbind(1)
        inverse = torch.exp(-log_scale.clamp(MIN_LOG_SCALE, MAX_LOG_SCALE))
        distance = (values.float() - mean).abs()
        upper, lower = (0.5 - distance) * inverse, (-0.5 - distance) * inverse
        return F.softplus(upper) + F.softplus(lower) - upper - torch.log(-torch.expm1(-inverse))

    def logits(self, outputs: Tensor) -> Tensor:
        """Log-probabilities `[b, K, q, *space]` of every code."""
        every = torch.arange(self.codebook_size, device=outputs.device)
        each = [self.nll_of_values(outputs, self.planes(code).expand_as(outputs[:, 0])) for code in every]
        return -torch.stack(each, dim=1)


class CategoricalHead(nn.Module):
    """Codes without order: each is seen as a vector, and predicted by a logit for every code."""

    def __init__(self, grid: Grid, width: int):
        super().__init__()
        self.embedding = CodeEmbedding(grid, width)
        self.num_planes, self.num_outputs = width, grid.codebook_size

    def planes(self, codes: Tensor) -> Tensor:
        """What is seen of codes `[b, q, *space]`: `[b, q * num_planes, *space]`."""
        return embedded_planes(self.embedding, codes)

    def nll(self, outputs: Tensor, codes: Tensor) -> Tensor:
        """Nats of each of `codes` `[b, q, *space]` under `outputs` `[b, num_outputs, q, *space]`."""
        return F.cross_entropy(outputs.float(), codes, reduction="none")

    def logits(self, outputs: Tensor) -> Tensor:
        """Logits `[b, K, q, *space]` of every code."""
        return outputs


HEADS: dict[str, type[OrdinalHead] | type[CategoricalHead]] = {"ordinal": OrdinalHead, "categorical": CategoricalHead}


def embedded_planes(embedding: CodeEmbedding, codes: Tensor) -> Tensor:
    """The vectors of codes `[b, q, *space]` as planes `[b, q * width, *space]`, those of a codebook together."""
    return embedding(codes).movedim(-1, 2).flatten(1, 2)
