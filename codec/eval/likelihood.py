"""How many bits a picture costs without any loss: a bound of -log2 p(x), in its parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from codec.core.errors import UserError
from codec.core.precision import float32_island
from codec.losses.likelihood import code_bits_uniform
from codec.models.base import CodecModel

CodeBits = Callable[[tuple[Tensor, ...]], Tensor]
"""-log2 p(codes), summed over all levels `[b, q, *space]` of a batch, 0-d."""


class Pictures(Protocol):
    """A batch `[b, c, height, width]` of 8-bit levels in [-1, 1], sides a multiple of the model's factor."""

    @property
    def signal(self) -> Tensor: ...


@dataclass(frozen=True)
class PictureBits:
    """Mean bits per dimension.

    Attributes:
        given_codes: -log2 p(x | z).
        codes: -log2 p(z) for every p(z): `uniform`, log2 K bits a code; `histogram`, by the frequencies of codes that
            are stored with the model; and `prior`, if there is one.
        bound: the sums of the two.
    """

    given_codes: float
    codes: dict[str, float]
    bound: dict[str, float]


@torch.inference_mode()
def evaluate_bits(model: CodecModel, batches: Iterable[Pictures], *, prior: CodeBits | None = None) -> PictureBits:
    """What pictures cost under `model`, in float32 (van den Oord et al. 2017, section 3.1).

    -log2 p(x) <= -log2 p(x | z) - log2 p(z), z being the codes that the encoder chooses.

    Args:
        prior: of the codes, beside those that are always there.

    Raises:
        UserError: the model has no likelihood of 8-bit levels, or there are no pictures.
    """
    likelihood = model.likelihood
    if likelihood is None or not likelihood.discrete:
        raise UserError(f"{model.name} gives pictures no probability: train it with a likelihood, such as categorical")
    priors: dict[str, CodeBits] = {
        "uniform": lambda codes: code_bits_uniform(zip(codes, (g.codebook_size for g in model.levels), strict=True)),
        "histogram": lambda codes: code_bits_histogram(codes, model.code_histograms()),
        **({"prior": prior} if prior else {}),
    }
    device = model.histogram.device
    dims, given_codes, of_codes = 0, 0.0, dict.fromkeys(priors, 0.0)
    for batch in batches:
        signal = batch.signal.to(device)
        with float32_island(device.type):
            result = model.eval()(signal)
            nats = likelihood.nll(result.outputs, signal)
        codes = tuple(level.codes for level in result.levels)
        dims += signal.numel()
        given_codes += float(nats.double().sum()) / math.log(2)
        for name, bits in priors.items():
            of_codes[name] += float(bits(codes))
    if not dims:
        raise UserError("no pictures to measure: look at the manifest's splits")
    return PictureBits(
        given_codes / dims,
        codes={name: bits / dims for name, bits in of_codes.items()},
        bound={name: (given_codes + bits) / dims for name, bits in of_codes.items()},
    )


def code_bits_histogram(codes: tuple[Tensor, ...], histograms: tuple[Tensor, ...]) -> Tensor:
    """Bits of `codes`, each level `[b, q, *space]`, as independent draws by the counts `[q, K]` of its codebook."""
    bits = []
    for level, counts in zip(codes, histograms, strict=True):
        log_p = (counts.double() / counts.sum(1, keepdim=True)).log2()
        bits.append(-log_p.gather(1, level.transpose(0, 1).flatten(1)).sum())
    return torch.stack(bits).sum()
