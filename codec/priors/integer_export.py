"""Trained context priors become integers, once: floats take part here, and never again."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from codec.core.errors import UserError
from codec.priors.coding import ContextCodingConfig, ContextCodingPrior
from codec.priors.context import ContextPrior, StepNetwork
from codec.priors.context_heads import CategoricalHead, OrdinalHead
from codec.priors.embedding import CodeEmbedding
from codec.priors.integer import IntegerConfig, IntegerPrior
from codec.priors.integer_heads import IntegerCategorical, IntegerOrdinal, exponential_table, logistic_tables
from codec.priors.integer_layers import (
    FRACTION_BITS,
    MAX_SHIFT,
    MAX_WEIGHT,
    UNIT,
    IntegerEmbedding,
    IntegerLayer,
    IntegerNetwork,
)

_BIAS_BITS = 30


@torch.no_grad()
def to_integer(*levels: ContextPrior) -> ContextCodingPrior:
    """The integers nearest to the priors of all levels of a model, coarse to fine, with the tables for their codes.

    Raises:
        UserError: they are not those of one model, or a weight is too large for 16 bits.
    """
    grids = tuple(prior.geometry.level for prior in levels)
    for index, prior in enumerate(levels):
        if prior.geometry.coarser != grids[:index] or prior.model_fingerprint != levels[0].model_fingerprint:
            raise UserError(f"prior {index} is not of the level below the others: give one model's, coarse to fine")
    made = [_tables(prior.head, prior.geometry.level.codebook_size) for prior in levels]
    config = ContextCodingConfig(
        levels=tuple(
            IntegerConfig(context=prior.context, reach=reach) for prior, (reach, _) in zip(levels, made, strict=True)
        )
    )
    integers = ContextCodingPrior(config, levels[-1].geometry)
    for mine, its, (_, table) in zip(integers.levels, levels, made, strict=True):
        _fill_level(cast(IntegerPrior, mine), its, table)
    integers.name, integers.model_fingerprint = levels[-1].name, levels[-1].model_fingerprint
    return integers.eval()


def _tables(head: OrdinalHead | CategoricalHead, codebook_size: int) -> tuple[tuple[int, ...], Tensor]:
    return logistic_tables(codebook_size) if isinstance(head, OrdinalHead) else ((), exponential_table())


def _fill_level(integers: IntegerPrior, prior: ContextPrior, table: Tensor) -> None:
    if isinstance(integers.head, IntegerCategorical) and isinstance(prior.head, CategoricalHead):
        integers.head.exponentials.copy_(table)
        _fill_embedding(integers.head.embedding, prior.head.embedding)
    elif isinstance(integers.head, IntegerOrdinal):
        integers.head.frequencies.copy_(table)
    for mine, its in zip(integers.above, prior.above, strict=True):
        _fill_embedding(cast(IntegerEmbedding, mine), cast(CodeEmbedding, its))
    for mine, its in zip(integers.networks, prior.networks, strict=True):
        _fill_network(cast(IntegerNetwork, mine), cast(StepNetwork, its))


def _fill_embedding(mine: IntegerEmbedding, its: CodeEmbedding) -> None:
    mine.table.copy_(_rounded(its.table.weight.double() * UNIT).view(mine.table.shape))


def _fill_network(mine: IntegerNetwork, its: StepNetwork) -> None:
    weight = torch.cat((its.first.weight, its.linear.weight)).flatten(1)
    hidden = its.first.bias + its.hidden_rate.weight
    _fill_layer(mine.first, weight, torch.cat((hidden, its.linear.bias + its.output_rate.weight), 1))
    for layer, conv in ((mine.second, its.second), (mine.third, its.third)):
        _fill_layer(layer, conv.weight.flatten(1), conv.bias.expand(layer.bias.shape))


def _fill_layer(layer: IntegerLayer, weight: Tensor, bias: Tensor) -> None:
    """Each output takes the largest shift at which its weights and biases fit; half a step makes flooring round."""
    weight, bias = weight.double().cpu(), bias.double().cpu()
    room = torch.stack(
        (
            torch.log2(MAX_WEIGHT / weight.abs().amax(1)),
            _BIAS_BITS - FRACTION_BITS - torch.log2(bias.abs().amax(0)),
            torch.full((len(weight),), float(MAX_SHIFT)),
        )
    )
    shift = room.amin(0).floor()
    if shift.isnan().any() or shift.min() < 0:
        raise UserError("a weight of the prior is too large for integers: train it again with weight decay")
    layer.shift.copy_(shift)
    scale = 2.0**shift
    layer.weight.copy_(_rounded(weight * scale[:, None]))
    layer.bias.copy_(torch.round(bias * scale * UNIT + scale / 2))


def _rounded(weights: Tensor) -> Tensor:
    if not weights.abs().max() <= MAX_WEIGHT + 0.5:
        raise UserError("an embedding of the prior is too large for integers: train it again with weight decay")
    return weights.round().clamp(-MAX_WEIGHT, MAX_WEIGHT)
