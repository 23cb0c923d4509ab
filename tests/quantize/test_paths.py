"""Searching several paths: as good as trying everything where that can be done, and on the whole better than greed."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.core.errors import UserError
from codec.quantize.build import build_quantizer, parse_quantizer
from codec.quantize.paths import PIECE, PathSearch, _least
from codec.quantize.residual import ResidualQuantizer

STACKS = st.fixed_dictionaries(
    {"seed": st.integers(0, 1000), "stages": st.integers(1, 3), "size": st.integers(2, 5), "price": st.floats(0, 3)}
)


def _stack(seed, stages, size, price, rows=9):
    generator = torch.Generator().manual_seed(seed)
    tables = [torch.randn(size, 3, generator=generator) for _ in range(stages)]
    prices = [price * torch.rand(size, generator=generator) for _ in range(stages)]
    return torch.randn(rows, 3, generator=generator), tables, prices


def _cost(row, path, tables, prices):
    error = row.double()
    cost = 0.0
    for table, price, code in zip(tables, prices, path, strict=True):
        error = error - table[code].double()
        cost += float(price[code])
    return float(error.square().sum()) + cost


@settings(deadline=None)
@given(stack=STACKS)
def test_with_all_paths_it_is_exhaustive_search(stack):
    rows, tables, prices = _stack(**stack)
    codes = PathSearch(tables, prices).best(rows, width=len(tables[0]) ** len(tables))
    for row, found in zip(rows, codes.tolist(), strict=True):
        every = itertools.product(range(len(tables[0])), repeat=len(tables))
        least = min(_cost(row, path, tables, prices) for path in every)
        assert _cost(row, found, tables, prices) == pytest.approx(least, abs=1e-4)


def test_groups_do_not_weigh_rates():
    with pytest.raises(UserError, match="codes of groups are not counted"):
        parse_quantizer({"kind": "grouped", "group": {"kind": "residual", "paths": 2, "rate_weight": 0.5}})


def _trained(paths, *, size=32, **search):
    torch.manual_seed(0)
    tree = {"kind": "residual", "num_codebooks": 6, "codebook": {"kind": "ema", "codebook_size": size}}
    quantizer = build_quantizer(parse_quantizer(tree | {"paths": paths, **search}), 8)
    assert isinstance(quantizer, ResidualQuantizer)
    latents = torch.randn(4, 8, 200)
    for _ in range(20):
        quantizer(latents)
    return quantizer.eval(), latents


def test_a_quantizer_with_more_paths_is_closer_at_every_depth_and_decodes_as_ever():
    greedy, latents = _trained(1)
    errors = {}
    for paths in (1, 4, 16):
        quantizer, _ = _trained(paths)
        quantizer.load_state_dict(greedy.state_dict())
        codes = {depth: quantizer.encode(latents, num_active=depth) for depth in (1, 3, 6)}
        assert codes[3].shape == (4, 3, 200) and codes[3].dtype == torch.int64
        errors[paths] = [float((quantizer.decode(c) - latents).square().mean()) for c in codes.values()]
    assert errors[1][0] == pytest.approx(errors[4][0]) == pytest.approx(errors[16][0])
    for depth in (1, 2):
        assert errors[16][depth] < errors[4][depth] < errors[1][depth]


def test_cheap_codes_are_taken_where_bits_count():
    quantizer, latents = _trained(4)
    bits = {}
    for weight in (0.0, 1.0):
        quantizer.bit_weight = weight  # pyright: ignore[reportArgumentType] - a plain number
        codes = quantizer.encode(latents)
        counts = quantizer.code_counts().clamp_min(1).float()
        prices = -(counts / counts.sum(1, keepdim=True)).log2()
        bits[weight] = float(sum(prices[stage][codes[:, stage]].sum() for stage in range(6)))
    assert bits[1.0] < 0.95 * bits[0.0]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_entries_of_infinite_price_might_as_well_not_be_there(seed, sizes):
    generator = torch.Generator().manual_seed(seed)
    rows, size = torch.randn(20, 3, generator=generator), 200
    tables = [torch.randn(size, 3, generator=generator) for _ in sizes]
    kept = [torch.randperm(size, generator=generator)[:number].sort().values for number in sizes]
    prices = [torch.full((size,), torch.inf) for _ in sizes]
    for price, codes in zip(prices, kept, strict=True):
        price[codes] = torch.rand(len(codes), generator=generator)
    found = PathSearch(tables, prices).best(rows, width=64)
    alone = [table[codes] for table, codes in zip(tables, kept, strict=True)]
    fewer = PathSearch(alone, [price[codes] for price, codes in zip(prices, kept, strict=True)]).best(rows, width=64)
    mapped = torch.stack([codes[book] for codes, book in zip(kept, fewer.unbind(1), strict=True)], 1)
    for row, ours, theirs in zip(rows, found.tolist(), mapped.tolist(), strict=True):
        assert all(code in set(codes.tolist()) for code, codes in zip(ours, kept, strict=True))
        assert _cost(row, ours, tables, prices) == pytest.approx(_cost(row, theirs, tables, prices), abs=1e-4)


def test_far_from_the_origin_it_finds_the_same():
    rows, tables, prices = _stack(0, 3, 5, 0.5, rows=200)
    near = PathSearch(tables, prices).best(rows, width=3)
    away = [table + 300 for table in tables]
    assert (PathSearch(away, prices).best(rows + 900, width=3) == near).float().mean() > 0.98


def test_nothing_has_no_codes():
    quantizer, _ = _trained(4)
    assert quantizer.encode(torch.zeros(2, 8, 0)).shape == (2, 6, 0)
    assert quantizer.encode(torch.zeros(0, 8, 5)).shape == (0, 6, 5)


def test_rows_are_searched_in_pieces_as_one_by_one():
    rows, tables, prices = _stack(0, 3, 5, 0.5, rows=PIECE + 3)
    whole = PathSearch(tables, prices).best(rows, width=3)
    assert torch.equal(
        whole[-5:], torch.cat([PathSearch(tables, prices).best(row[None], width=3) for row in rows[-5:]])
    )


@settings(deadline=None)
@given(seed=st.integers(0, 1000), number=st.integers(1, 70), blocks=st.integers(1, 5))
def test_the_least_of_many_scores_are_found_as_by_sorting(seed, number, blocks):
    scores = torch.randn(3, 64 * blocks, generator=torch.Generator().manual_seed(seed))
    values, places = _least(scores, number)
    assert torch.equal(values.sort(1).values, scores.sort(1).values[:, :number])
    assert torch.equal(scores.gather(1, places), values)


@pytest.mark.parametrize(
    "wrong",
    [
        {"paths": 2, "codebook": {"kind": "fsq", "levels": [3, 3]}},
        {"paths": 2, "codebook": {"kind": "ema", "lookup": "cosine"}},
        {"paths": 2, "codebook": {"kind": "ema", "codebook_dim": 2}},
        {"bit_weight": 0.5},
        {"rate_weight": 0.5},
        {"paths": 2, "bit_weight": 0.5, "rate_weight": 0.5},
        {"paths": 2, "rate_weight": 0.5, "shared": True},
    ],
)
def test_searches_that_mean_nothing_are_refused(wrong):
    with pytest.raises(UserError, match=r"leave (it|one) out"):
        parse_quantizer({"kind": "residual"} | wrong)


@pytest.mark.parametrize("change", ["entry", "count", "load", "moved", "weight", "counted"])
def test_a_search_is_kept_until_what_it_was_made_of_changes(change):
    weight = "rate_weight" if change == "counted" else "bit_weight"
    quantizer, latents = _trained(4, **{weight: 0.1})  # pyright: ignore[reportArgumentType]
    quantizer.encode(latents)
    with torch.no_grad():
        if change == "entry":
            quantizer.stages[1].codebook[:16] += 3  # pyright: ignore
        elif change == "count":
            quantizer.stages[1].ema_counts[:16] *= 1e6  # pyright: ignore
        elif change == "load":
            quantizer.load_state_dict(
                {name: value.flip(0) if value.dim() else value for name, value in quantizer.state_dict().items()}
            )
        elif change == "moved":
            quantizer.stages[1].codebook = 2 * quantizer.stages[1].codebook  # pyright: ignore
        elif change == "counted":
            quantizer.count_searched(latents)  # pyright: ignore
        else:
            quantizer.bit_weight = 2.0  # pyright: ignore
    codes = quantizer.encode(latents)
    fresh, _ = _trained(4, **{weight: float(getattr(quantizer, weight))})  # pyright: ignore[reportArgumentType]
    fresh.load_state_dict(quantizer.state_dict())
    assert torch.equal(codes, fresh.encode(latents))


def test_a_search_is_made_once_for_many_recordings(monkeypatch):
    quantizer, latents = _trained(4)
    quantizer.encode(latents)
    monkeypatch.setattr("codec.quantize.residual.PathSearch", None)
    with torch.inference_mode():
        assert quantizer.encode(latents).shape == (4, 6, 200)


def _trade(quantizer, latents, depth, worth):
    """Squared error of a position, and with it bits by the counts of these very codes, weighed by `worth`."""
    codes = quantizer.encode(latents, num_active=depth)
    error = float((quantizer.decode(codes) - latents).square().sum(1).mean())
    shares = [book.flatten().bincount(minlength=32).double() / book.numel() for book in codes.unbind(1)]
    bits = float(sum(torch.special.entr(share).sum() for share in shares)) / math.log(2)
    return error, error + worth * bits


def _worth(quantizer, stage):
    """Of a bit: what `stage` takes off the squared error, over what its codes take, by its own counts."""
    book, counts = quantizer.stages[stage].codebook.double(), quantizer.stages[stage].ema_counts.double()
    shares = counts / counts.sum()
    bits = torch.special.entr(shares).sum() / math.log(2)
    return float((shares * book.square().sum(1)).sum() / bits)


@pytest.mark.parametrize("depth", [1, 3, 6])
def test_counting_what_is_searched_makes_a_better_trade_of_bits_and_error(depth):
    quantizer, latents = _trained(16, rate_weight=1.0)
    worth = _worth(quantizer, min(depth, 5))
    error, before = _trade(quantizer, latents, depth, worth)
    free, _ = _trained(16)
    free.load_state_dict({name: value for name, value in quantizer.state_dict().items() if name != "searched_counts"})
    least, unweighed = _trade(free, latents, depth, worth)
    quantizer.count_searched(latents)
    after = _trade(quantizer, latents, depth, worth)[1]
    assert after < before < unweighed and least < error


def test_searched_codes_are_counted_at_every_rate_and_kept_with_the_weights():
    quantizer, latents = _trained(4, rate_weight=1.0)
    assert quantizer.encoded_counts(2) is None
    told = []
    quantizer.count_searched(latents, progress=lambda done, total: told.append((done, total)))
    assert told == [(number, 6) for number in range(1, 7)]
    loaded, _ = _trained(4, rate_weight=1.0)
    loaded.load_state_dict(quantizer.state_dict())
    for depth in range(1, 7):
        counts = loaded.encoded_counts(depth)
        assert counts is not None and counts.shape == (depth, 32) and int(counts.min()) >= 1
        rare = (quantizer.state_dict()["searched_counts"][depth - 1, :depth] == 0).sum(1)
        assert torch.equal(counts.sum(1) - rare, torch.full((depth,), 800))
    whole, counts = loaded.encoded_counts(), loaded.encoded_counts(6)
    assert whole is not None and counts is not None and torch.equal(whole, counts)
    assert not quantizer.state_dict()["searched_counts"][2, 3:].any(), "with three stages nothing is known of a fourth"
    with pytest.raises(UserError, match="has 6 codebooks"):
        loaded.encoded_counts(7)


def test_more_positions_than_can_be_counted_are_refused():
    quantizer, _ = _trained(4, rate_weight=1.0)
    with pytest.raises(UserError, match="32768 positions"):
        quantizer.count_searched(torch.zeros(1, 8, 32768))


def test_what_was_never_chosen_is_not_chosen_and_learning_forgets_it():
    quantizer, latents = _trained(4, size=256, rate_weight=20.0)
    quantizer.count_searched(latents)
    for depth in (1, 3, 6):
        counts = quantizer.state_dict()["searched_counts"][depth - 1, :depth]
        assert depth == 1 or (counts == 0).sum(1).max() >= 64, "some columns are left out"
        codes = quantizer.encode(latents + 0.3 * torch.randn_like(latents), num_active=depth)
        assert all((count[book] > 0).all() for count, book in zip(counts, codes.unbind(1), strict=True))
    quantizer(latents)
    assert quantizer.encoded_counts(3) is not None, "in evaluation nothing is learnt"
    quantizer.train()(latents)
    assert quantizer.encoded_counts(3) is None


def test_a_stage_that_takes_nothing_off_the_error_makes_bits_free():
    quantizer, latents = _trained(4, size=64, rate_weight=1.0)
    with torch.no_grad():
        for stage in quantizer.stages[1:]:
            stage.codebook.zero_()  # pyright: ignore
    before = (quantizer.decode(quantizer.encode(latents, num_active=1)) - latents).square().mean()
    quantizer.count_searched(latents)
    after = (quantizer.decode(quantizer.encode(latents, num_active=1)) - latents).square().mean()
    assert float(after) == pytest.approx(float(before))
