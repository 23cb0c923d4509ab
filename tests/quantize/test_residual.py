"""A residual stack codes what is left, stage by stage, and fewer stages are a prefix of more."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.core.errors import UserError
from codec.quantize.build import build_quantizer, parse_quantizer
from codec.quantize.codebook import CodebookQuantizer
from codec.quantize.residual import ResidualQuantizer
from tests.quantize.kinds import DIM, build, latents, trained
from tests.references.vector_quantizer import residual_codes


def test_codes_are_those_of_the_float64_oracle() -> None:
    quantizer = trained("residual")
    assert isinstance(quantizer, ResidualQuantizer)
    books = [stage.entries().double().numpy() for stage in quantizer.stages if isinstance(stage, CodebookQuantizer)]
    inputs = latents(9)
    codes, total = residual_codes(inputs.movedim(1, -1).reshape(-1, DIM).double().numpy(), books)
    found = quantizer.encode(inputs)
    assert np.array_equal(found.movedim(1, -1).reshape(-1, 3).numpy(), codes)
    decoded = quantizer.decode(found).movedim(1, -1).reshape(-1, DIM)
    np.testing.assert_allclose(decoded.numpy(), total, rtol=1e-5, atol=1e-5)


@settings(max_examples=20)
@given(active=st.integers(1, 3), seed=st.integers(0, 1000), name=st.sampled_from(["residual", "residual-dropout"]))
def test_fewer_active_codebooks_are_a_prefix(active: int, seed: int, name: str) -> None:
    quantizer, inputs = trained(name), latents(seed)
    whole, part = quantizer(inputs), quantizer(inputs, num_active=active)
    assert torch.equal(part.codes, whole.codes[:, :active])
    assert torch.equal(quantizer.encode(inputs, num_active=active), part.codes)
    assert torch.equal(quantizer.decode(part.codes), part.latents)
    error = (part.latents - inputs).square().mean()
    torch.testing.assert_close(part.stats["distortion"], error)


def test_stages_lower_the_distortion_one_after_another() -> None:
    quantizer, inputs = trained("residual", steps=60), latents(3)
    errors = [float(quantizer(inputs, num_active=number).stats["distortion"]) for number in (1, 2, 3)]
    assert errors[0] > errors[1] > errors[2]


def test_dropped_stages_do_not_see_a_sample() -> None:
    quantizer = build("residual-dropout")
    assert isinstance(quantizer, ResidualQuantizer)
    quantizer(latents(0, batch=64))
    torch.manual_seed(3)
    inputs = latents(1, batch=64)
    result = quantizer(inputs)
    dropped = (result.codes < 0).all(-1)
    assert torch.equal(dropped, (result.codes < 0).any(-1))
    assert not dropped[:, 0].any()
    assert bool((dropped[:, 1] <= dropped[:, 2]).all())
    shares = dropped.float().mean(0)
    assert 0.1 < shares[1] < 0.4 and 0.3 < shares[2] < 0.65  # 0.7 / 3 and 0.7 * 2 / 3
    counts = [float(result.stats[f"usage/{number}"]) for number in range(3)]
    assert all(0 < share <= 1 for share in counts)


@pytest.mark.parametrize(("bias", "ones"), [(1.0, 0.25), (2.0, 0.5), (0.5, 0.0625)])
def test_biased_dropout_keeps_few_stages_more_often(bias: float, ones: float) -> None:
    tree = {"kind": "residual", "num_codebooks": 4, "dropout": 1.0, "dropout_bias": bias}
    quantizer = build_quantizer(parse_quantizer(tree), DIM)
    torch.manual_seed(0)
    codes = quantizer(latents(1, batch=2000)).codes
    depth = (codes >= 0).all(-1).sum(1)
    assert (depth == 1).float().mean().item() == pytest.approx(ones, abs=0.04)  # (1 / 4)^(1 / bias)
    assert int(depth.min()) == 1 and int(depth.max()) == 4


def test_dropout_draws_nothing_in_eval() -> None:
    quantizer = trained("residual-dropout")
    assert int(quantizer(latents(0)).codes.min()) >= 0


def test_stats_are_means_over_stages_and_restarts_a_sum() -> None:
    stats = build("residual")(latents(0)).stats
    for name in ("usage", "perplexity", "running_usage"):
        torch.testing.assert_close(stats[name], sum(stats[f"{name}/{number}"] for number in range(3)) / 3)
    torch.testing.assert_close(stats["restarts"], sum(stats[f"restarts/{number}"] for number in range(3)))


def test_too_many_active_codebooks_are_refused() -> None:
    quantizer = trained("residual")
    for number in (0, 4):
        with pytest.raises(UserError, match="3 codebooks"):
            quantizer.encode(latents(0), num_active=number)
