"""Segmented units: the nearest ones for free changes, fewer changes for dear ones."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.core.errors import UserError
from codec.models.build_units import build_units, parse_units
from codec.models.segmented import codebook_of, segmented_units
from codec.train.clusters import set_codebook


@pytest.fixture(scope="module")
def model():
    tree = {"kind": "features", "features": {"kind": "mfcc"}, "quantizer": {"kind": "ema", "codebook_size": 6}}
    model = build_units(parse_units(tree)).eval()
    set_codebook(model, torch.randn(6, 39, generator=torch.Generator().manual_seed(0)))
    return model


def _latents(seed, rows=2, frames=60):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 39, frames, generator=generator)


def _changes(units):
    return int((units[:, 1:] != units[:, :-1]).sum())


def _distances(model, latents, units):
    return (latents - model.embeddings(units)).square().sum(1)


@given(seed=st.integers(0, 10_000), penalties=st.tuples(st.floats(0, 3), st.floats(0, 3)))
@settings(max_examples=30, deadline=None)
def test_dearer_changes_are_fewer_and_none_costs_more_than_it_saves(model, seed, penalties):
    low, high = sorted(penalties)
    latents = _latents(seed)
    cheap, dear = (segmented_units(model, latents, penalty=penalty) for penalty in (low, high))
    assert _changes(dear) <= _changes(cheap)
    codebook = codebook_of(model)
    unit = float(torch.cdist(codebook, codebook).square().fill_diagonal_(torch.inf).min(1).values.mean())
    for row in range(2):
        costs = [
            float(_distances(model, latents, units)[row].sum()) + high * unit * _changes(units[row : row + 1])
            for units in (dear, cheap)
        ]
        assert costs[0] <= costs[1] + 1e-3


def test_changes_that_cost_nothing_give_the_nearest_units(model):
    latents = _latents(1)
    nearest = model.quantizer.encode(latents)[:, 0]
    assert torch.equal(segmented_units(model, latents, penalty=0.0), nearest)
    assert torch.equal(segmented_units(model, latents, penalty=1e-9), nearest)


def test_changes_that_cost_too_much_do_not_happen(model):
    latents = _latents(2)
    units = segmented_units(model, latents, penalty=1e6)
    assert _changes(units) == 0
    alone = torch.stack([_distances(model, latents, torch.full_like(units, unit)).sum(1) for unit in range(6)])
    assert torch.equal(units[:, 0], alone.argmin(0))


def test_a_negative_penalty_is_refused(model):
    with pytest.raises(UserError, match="penalty"):
        segmented_units(model, _latents(3), penalty=-1.0)
