"""Codebooks start on the data, and dead codes find the data that has none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from codec.quantize.build import build_quantizer, parse_quantizer
from codec.quantize.ema import EMAQuantizer
from codec.quantize.kmeans import cluster
from codec.quantize.pool import Coverage, draw_pool
from codec.quantize.restart import dead_codes, replacements

CLUSTERS = 256
NOISE = 0.1  # standard deviation; the least mean squared error is its square, 0.01


class Toy:
    """256 clusters in 8 dimensions, 2,000 points a step; `skew` makes the last e^skew times rarer than the first."""

    def __init__(self, *, skew: float = 0.0) -> None:
        self.centres = torch.randn(CLUSTERS, 8, generator=torch.Generator().manual_seed(0)) * 20**0.5
        self.weights = torch.exp(-skew * torch.arange(CLUSTERS) / CLUSTERS)

    def points(self, count: int) -> Tensor:
        chosen = self.centres[torch.multinomial(self.weights, count, replacement=True)]
        return (chosen + NOISE * torch.randn(count, 8)).t()[None]

    def train(self, *, steps: int = 400, **options: Any) -> tuple[float, float]:
        """Mean squared error after training, and restarts in all."""
        torch.manual_seed(0)
        quantizer = build_quantizer(parse_quantizer({"kind": "ema", "codebook_size": CLUSTERS, **options}), 8)
        restarts = 0.0
        for step in range(steps):
            torch.manual_seed(step)
            restarts += float(quantizer(self.points(2000)).stats["restarts"])
        return float(quantizer.eval()(self.points(20_000)).stats["distortion"]), restarts


def test_restart_covers_256_clusters_from_a_random_codebook() -> None:
    error, restarts = Toy().train(init="normal")
    assert error <= 0.02
    assert restarts < 2 * CLUSTERS


def test_without_restart_the_same_codebook_misses_clusters() -> None:
    error, restarts = Toy().train(init="normal", restart_below=0.0, steps=200)
    assert error > 0.5
    assert restarts == 0


def test_kmeans_start_and_a_higher_threshold_reach_the_noise() -> None:
    error, _ = Toy().train(restart_below=0.4, steps=200)
    assert error <= 0.012


def test_restarts_do_not_churn_on_skewed_clusters() -> None:
    toy = Toy(skew=6.0)
    error, restarts = toy.train()
    still, _ = toy.train(restart_below=0.0)
    assert restarts <= CLUSTERS  # an absolute threshold made 30,000
    assert error < still


@settings(max_examples=15)
@given(distinct=st.integers(1, 6), copies=st.integers(1, 4), seed=st.integers(0, 100))
def test_fewer_vectors_than_codes_give_distinct_codes(distinct: int, copies: int, seed: int) -> None:
    torch.manual_seed(seed)
    rows = torch.randn(distinct, 3).repeat(copies, 1)
    found = cluster(rows, None, 8)
    assert len(torch.unique(found.centres, dim=0)) == 8
    assert int((found.counts > 0).sum()) == distinct
    for row in rows:
        assert float((found.centres - row).abs().sum(1).min()) < 1e-5


def test_identical_vectors_give_distinct_codes() -> None:
    for value in (0.0, 1000.0):
        assert len(torch.unique(cluster(torch.full((9, 4), value), None, 5).centres, dim=0)) == 5


def test_initialisation_happens_in_the_first_training_batch_with_data() -> None:
    quantizer = build_quantizer(parse_quantizer({"kind": "ema", "codebook_size": 4}), 2)
    assert isinstance(quantizer, EMAQuantizer)
    data = torch.randn(1, 2, 50) + 7
    quantizer.eval()(data)
    quantizer.train()(data, mask=torch.zeros(1, 50, dtype=torch.bool))
    assert not bool(quantizer.initialised)
    quantizer(data)
    assert bool(quantizer.initialised)
    assert float((quantizer.codebook.mean() - 7).abs()) < 1.5
    before = quantizer.codebook.clone()
    quantizer(data + 100)
    assert float((quantizer.codebook - before).abs().max()) < 60  # it moves by an average, it does not start anew


def test_a_restarted_code_keeps_its_place_at_the_next_update() -> None:
    torch.manual_seed(0)
    options = {"kind": "ema", "codebook_size": 2, "init": "normal", "restart_cooldown": 3}
    quantizer = build_quantizer(parse_quantizer(options), 1)
    assert isinstance(quantizer, EMAQuantizer)
    quantizer.codebook.copy_(torch.tensor([[0.0], [99.0]]))
    data = torch.tensor([0.0] * 9 + [10.0]).view(1, 1, 10)
    assert float(quantizer(data).stats["restarts"]) == 1
    assert float(quantizer.codebook[1]) == 10
    assert quantizer.cooldown.tolist() == [0, 3]
    assert float(quantizer(data).stats["restarts"]) == 0
    assert abs(float(quantizer.codebook[1]) - 10) < 1e-4
    assert quantizer.cooldown.tolist() == [0, 2]


def test_a_code_that_cools_down_is_not_dead() -> None:
    counts, cooldown = torch.tensor([0.0, 0.0, 8.0, 1.0]), torch.tensor([0, 5, 0, 0])
    assert dead_codes(counts, cooldown, 0.2).tolist() == [True, False, False, False]


def test_replacements_go_where_no_code_is() -> None:
    rows = torch.tensor([[0.0], [0.0], [5.0], [9.0]]).repeat(50, 1)
    codebook, dead = torch.tensor([[0.0], [50.0], [60.0], [70.0]]), torch.tensor([False, True, True, True])
    torch.manual_seed(0)
    found = replacements(rows, None, codebook, dead, limit=3)
    assert sorted(found.vectors[found.taken].flatten().tolist()) == [5.0, 9.0]  # a third place there is not
    assert int(found.taken.sum()) == 2


def test_no_more_codes_are_replaced_than_the_limit() -> None:
    rows, codebook = torch.randn(100, 4), torch.randn(9, 4)
    dead = torch.arange(9) % 2 == 0
    found = replacements(rows, None, codebook, dead, limit=3)
    assert found.codes.tolist() == [0, 2, 4] and bool(found.taken.all())


@given(valid=st.lists(st.booleans(), min_size=1, max_size=30), size=st.integers(1, 20), seed=st.integers(0, 99))
def test_a_pool_is_an_even_sample_of_the_real_vectors(valid: list[bool], size: int, seed: int) -> None:
    rows, mask = torch.arange(len(valid), dtype=torch.float32)[:, None] + 1, torch.tensor(valid)
    pool, total = draw_pool(rows, mask, torch.rand(size, generator=torch.Generator().manual_seed(seed)))
    real = rows[mask].flatten().tolist()
    drawn = pool.flatten().tolist()
    assert int(total) == len(real)
    if not real:
        assert not any(drawn)
    elif size >= len(real):
        assert set(drawn) == set(real)
    else:
        assert set(drawn) <= set(real) and len(set(drawn)) == size


def test_coverage_never_takes_a_vector_twice() -> None:
    torch.manual_seed(0)
    coverage = Coverage(torch.randn(6, 3).repeat(5, 1) + 1000, torch.ones(30))
    taken = [coverage.take(torch.rand(Coverage.CANDIDATES)) for _ in range(8)]
    assert [bool(new) for _, new in taken] == [True] * 6 + [False] * 2
    assert len(torch.unique(torch.stack([vector for vector, new in taken if new]), dim=0)) == 6


@pytest.mark.parametrize("kind", ["ema", "gradient"])
def test_training_is_reproducible_from_the_global_generator(kind: str) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(0)
        quantizer = build_quantizer(parse_quantizer({"kind": kind, "codebook_size": 16, "restart_below": 0.5}), 4)
        for _ in range(5):
            quantizer(torch.randn(2, 4, 30))
        states.append(quantizer.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
