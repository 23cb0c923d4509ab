"""A trained frame prior becomes integers, once: floats take part here, and never again."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from codec.core.errors import UserError
from codec.priors.frame_coding import LARGEST, FrameCodingConfig, FrameCodingPrior, IntegerLayers
from codec.priors.frame_tables import (
    LARGEST_WEIGHT,
    LOGIT_UNIT,
    MAX_BIAS,
    MAX_BYTE,
    MAX_EMBEDDING_SHIFT,
    MAX_SHIFT,
    SCALE_BITS,
    UNIT,
)
from codec.priors.frames import BookLayers, FramePrior


@torch.no_grad()
def frames_to_integers(prior: FramePrior) -> FrameCodingPrior:
    """The integers nearest to `prior`.

    Raises:
        UserError: a weight is too large for them.
    """
    exponentials = _exponentials()
    config = FrameCodingConfig(frames=prior.frame_config, exponentials=len(exponentials))
    integers = FrameCodingPrior(config, prior.geometry)
    integers.exponentials.copy_(exponentials)
    _fill_embedding(integers, prior.embedding, prior.scale)
    _fill(integers.past, *_stacked([prior.past]))
    if prior.further:
        _fill(integers.further, *_stacked(list(prior.further)))
    for mine, its in ((integers.first, prior.first), (integers.second, prior.second)):
        _fill(mine, its.weight, its.bias)
    _fill_head(integers.head, prior.head)
    integers.name, integers.model_fingerprint = prior.name, prior.model_fingerprint
    return integers.eval()


def _exponentials() -> Tensor:
    """exp(-x) in steps of 1 / LOGIT_UNIT, in units of 1 / LARGEST_WEIGHT, down to the last that is not 0."""
    count = 1 + math.ceil(math.log(LARGEST_WEIGHT) * LOGIT_UNIT)
    return torch.tensor([max(1, round(LARGEST_WEIGHT * math.exp(-step / LOGIT_UNIT))) for step in range(count)])


def _stacked(layers: list[nn.Module]) -> tuple[Tensor, Tensor]:
    """Weights `[n, outputs, kernel * inputs]` in the order in which frames follow each other, and biases."""
    weights = [layer.get_parameter("weight").movedim(1, 2).flatten(1) for layer in layers]
    return torch.stack(weights), torch.stack([layer.get_parameter("bias") for layer in layers])


def _fill_embedding(integers: FrameCodingPrior, embedding: Tensor, scale: Tensor) -> None:
    """Each codebook takes the smallest step at which its vectors fit 8 bits."""
    vectors = embedding.double().cpu() * UNIT
    largest = vectors.abs().amax((1, 2))
    shift = torch.log2(largest / MAX_BYTE).ceil().clamp_min(0)
    if not bool((shift <= MAX_EMBEDDING_SHIFT).all()):
        raise UserError("an embedding of the prior is too large for integers: train it again with weight decay")
    integers.embedding_shift.copy_(shift)
    integers.scale.copy_((scale.double().cpu() * (1 << SCALE_BITS)).round())
    integers.embedding.copy_((vectors / 2.0 ** shift[:, None, None]).round())


def _fill(mine: IntegerLayers, weight: Tensor, bias: Tensor) -> None:
    """Each output takes the largest shift at which its weights and its bias fit; half a step makes flooring round."""
    weight, bias = weight.double().cpu(), bias.double().cpu()
    shift = _shift(torch.stack((LARGEST[mine.weight.dtype] / weight.abs().amax(2), MAX_BIAS / 2 / (bias.abs() * UNIT))))
    scale = 2.0**shift
    _copy(mine, weight * scale[..., None], bias * scale * UNIT + scale / 2, shift)


def _fill_head(mine: IntegerLayers, its: BookLayers) -> None:
    """All logits of a codebook take one shift."""
    weight, bias = its.weight.double().cpu(), its.bias.double().cpu()
    room = torch.stack((MAX_BYTE / weight.abs().amax((1, 2)), MAX_BIAS / 2 / (bias.abs().amax(1) * UNIT)))
    shift = _shift(room)[:, None].expand_as(bias)
    scale, finer = 2.0**shift, int(math.log2(UNIT // LOGIT_UNIT))
    _copy(mine, weight * scale[..., None], bias * scale * UNIT, shift + finer)


def _shift(room: Tensor) -> Tensor:
    """The largest power of two that is in all of `room` `[n, ...]`, as its exponent."""
    shift = torch.log2(room).clamp_max(MAX_SHIFT).floor().amin(0)
    if shift.isnan().any() or shift.min() < 0:
        raise UserError("a weight of the prior is too large for integers: train it again with weight decay")
    return shift


def _copy(mine: IntegerLayers, weight: Tensor, bias: Tensor, shift: Tensor) -> None:
    mine.weight.copy_(weight.round())
    mine.bias.copy_(bias.round())
    mine.shift.copy_(shift)
