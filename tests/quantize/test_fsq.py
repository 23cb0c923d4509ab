"""Finite scalar quantization rounds as its paper says, and residual stages cut its cells."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from codec.core.errors import UserError
from codec.quantize import NonFiniteError, Quantizer
from codec.quantize.bounded import BoundedResidualQuantizer
from codec.quantize.build import build_quantizer, parse_quantizer
from codec.quantize.fsq import CellQuantizer, Squash
from tests.references import finite_scalar as reference

some_levels = st.lists(st.integers(2, 9), min_size=1, max_size=4)


def _quantizer(levels: list[int], *, dim: int | None = None) -> Quantizer:
    return build_quantizer(parse_quantizer({"kind": "fsq", "levels": levels}), dim or len(levels)).eval()


def _residual(levels: list[int], stages: int, *, dim: int | None = None) -> BoundedResidualQuantizer:
    config = {"kind": "residual", "num_codebooks": stages, "codebook": {"kind": "fsq", "levels": levels}}
    quantizer = build_quantizer(parse_quantizer(config), dim or len(levels)).eval()
    assert isinstance(quantizer, BoundedResidualQuantizer)
    return quantizer


def _draw(seed: int, channels: int, *, length: int = 15, scale: float = 2.0) -> Tensor:
    return torch.randn(2, channels, length, generator=torch.Generator().manual_seed(seed)) * scale


def _rounding(levels: int) -> float:
    """Float32's error in a bounded latent: some 2^-24, but the shift of 2 levels, atanh(0.999), is ill conditioned."""
    return 4e-5 if levels == 2 else 2e-6


def _preimage(values: Tensor, levels: list[int]) -> Tensor:
    """Latents `[1, d, n]` whose bounds are `values` `[1, d, n]`."""
    rows = values[0].t().tolist()
    exact = [[reference.inverse(value, count) for value, count in zip(row, levels, strict=True)] for row in rows]
    return torch.tensor(exact).t()[None]


@pytest.mark.parametrize("levels", [2, 3, 4, 5, 8, 16, 255])
def test_bound_and_its_derivative_are_the_papers(levels: int) -> None:
    z = torch.linspace(-8, 8, 401)[:, None].requires_grad_()
    bounded = Squash((levels,))(z)
    exact = [reference.bound(value, levels) for value in z.detach()[:, 0].tolist()]
    close = {"rtol": 0, "atol": _rounding(levels)}
    torch.testing.assert_close(bounded[:, 0].double(), torch.tensor(exact, dtype=torch.float64), **close)
    (slope,) = torch.autograd.grad(bounded.sum(), z)
    exact = [reference.slope(value, levels) for value in z.detach()[:, 0].tolist()]
    torch.testing.assert_close(slope[:, 0].double(), torch.tensor(exact, dtype=torch.float64), **close)


@given(levels=some_levels)
def test_zero_is_bounded_to_zero(levels: list[int]) -> None:
    bounded = Squash(tuple(levels))(torch.zeros(1, len(levels)))
    torch.testing.assert_close(bounded, torch.zeros(1, len(levels)), rtol=0, atol=2e-6)  # of the shift and the tangent
    middle = reference.code([count // 2 for count in levels], levels)
    assert _quantizer(levels).encode(torch.zeros(1, len(levels), 1)).item() == middle


@given(levels=some_levels, seed=st.integers(0, 10_000))
def test_codes_are_the_nearest_levels_of_the_bounded_latents(levels: list[int], seed: int) -> None:
    quantizer, latents = _quantizer(levels), _draw(seed, len(levels))
    result = quantizer(latents)
    for row, found, output in zip(
        latents.movedim(1, -1).reshape(-1, len(levels)).tolist(),
        result.codes.reshape(-1).tolist(),
        result.latents.movedim(1, -1).reshape(-1, len(levels)).tolist(),
        strict=True,
    ):
        for z, count, digit, value in zip(row, levels, reference.digits(found, levels), output, strict=True):
            bounded, values = reference.bound(z, count), reference.level_values(count)
            assert value == float(np.float32(values[digit]))
            best = abs(Fraction(bounded) - values[reference.nearest_level(bounded, count)])
            # Float32 may choose between levels that are equally far to its rounding error; nothing else.
            assert abs(Fraction(bounded) - values[digit]) <= best + Fraction(2 * _rounding(count))


@pytest.mark.parametrize("levels", [[8, 5, 5, 5], [2, 3, 4, 5], [2], [3], [7, 2, 9]])
def test_every_code_is_reached_and_stands_for_a_vector_of_its_own(levels: list[int]) -> None:
    quantizer = _quantizer(levels)
    codes = torch.arange(math.prod(levels))[None, None]
    values = quantizer.decode(codes)
    exact = [
        [float(reference.level_values(count)[digit]) for digit, count in zip(digits, levels, strict=True)]
        for digits in (reference.digits(code, levels) for code in range(math.prod(levels)))
    ]
    torch.testing.assert_close(values[0].t(), torch.tensor(exact), rtol=0, atol=0)
    assert len(torch.unique(values[0].t(), dim=0)) == math.prod(levels)
    assert torch.equal(quantizer.encode(_preimage(values, levels)), codes)


@pytest.mark.parametrize("levels", [999, 1000, 1001, 1003, 4096])
def test_no_latent_leaves_the_range_of_a_channel_with_many_levels(levels: int) -> None:
    quantizer = _quantizer([levels, 3])
    latents = torch.tensor([-1e30, -100.0, -9.0, 0.0, 9.0, 100.0, 1e30]).expand(1, 2, 7)
    result = quantizer(latents)
    assert torch.equal(result.codes % levels, torch.tensor([[[0, 0, 0, levels // 2, *[levels - 1] * 3]]]))
    assert torch.equal(quantizer.decode(result.codes), result.latents)


@given(levels=some_levels, seed=st.integers(0, 10_000), masked=st.booleans())
def test_gradient_is_that_of_the_bound_alone(levels: list[int], seed: int, masked: bool) -> None:
    latents, weight = _draw(seed, len(levels)).requires_grad_(), _draw(seed + 1, len(levels))
    mask = torch.rand(2, 15, generator=torch.Generator().manual_seed(seed)) < 0.5 if masked else None
    result = _quantizer(levels)(latents, mask=mask)
    (gradient,) = torch.autograd.grad((result.latents * weight).sum(), latents)
    slopes = [[[reference.slope(z, levels[c]) for z in row] for c, row in enumerate(b)] for b in latents.tolist()]
    wanted = weight * torch.tensor(slopes)
    if mask is not None:
        wanted = torch.where(mask[:, None], wanted, 0)
    torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-5)  # 1 - tanh^2 cancels near the ends


@pytest.mark.parametrize("poison", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("dim", [2, 3])
def test_an_infinity_that_the_tangent_would_hide_raises(poison: float, dim: int) -> None:
    latents = _draw(0, dim)
    latents[1, 1, 7] = poison
    mask = torch.ones(2, 15, dtype=torch.bool)
    mask[1, 7] = False
    for quantizer in (_quantizer([5, 4], dim=dim), _residual([5, 4], 3, dim=dim)):
        for training in (True, False):
            with pytest.raises(NonFiniteError):
                quantizer.train(training)(latents)
        with pytest.raises(NonFiniteError):
            quantizer.encode(latents)
        assert bool(quantizer(latents, mask=mask).latents.isfinite().all())


def test_a_codebook_of_2_to_the_36_codes_takes_kilobytes_and_round_trips() -> None:
    levels = [8] * 12
    quantizer = _quantizer(levels).train()
    assert quantizer.codebook_size == 1 << 36
    held = [*quantizer.parameters(), *quantizer.buffers()]
    assert sum(tensor.numel() * tensor.element_size() for tensor in held) < 4096
    codes = torch.randint(1 << 36, (1, 1, 500), generator=torch.Generator().manual_seed(0))
    codes[..., 0], codes[..., 1] = 0, (1 << 36) - 1
    latents = _preimage(quantizer.decode(codes), levels)
    result = quantizer(latents)
    assert torch.equal(result.codes, codes) and torch.equal(quantizer.encode(latents), codes)
    exact = [reference.digits(code, levels) for code in codes.reshape(-1).tolist()]
    assert torch.equal(quantizer.decode(codes)[0].t(), (torch.tensor(exact) - 4) / 4)
    with pytest.raises(UserError, match="histogram"):
        quantizer.code_counts()


@settings(max_examples=40)
@given(levels=some_levels, stages=st.integers(1, 4), seed=st.integers(0, 10_000))
def test_each_residual_stage_cuts_the_cell_so_that_the_error_is_bounded(
    levels: list[int], stages: int, seed: int
) -> None:
    """After i stages a channel is within 1 / (2 floor(L / 2) L^(i - 1)): half a cell, and each stage cuts it in L."""
    quantizer, latents = _residual(levels, stages), _draw(seed, len(levels))
    codes = quantizer.encode(latents)
    bounded = [[[reference.bound(z, levels[c]) for z in row] for c, row in enumerate(b)] for b in latents.tolist()]
    for number in range(1, stages + 1):
        decoded = quantizer.decode(codes[:, :number]).double()
        error = (decoded - torch.tensor(bounded, dtype=torch.float64)).abs().amax((0, 2))
        cell = [0.5 / (count // 2) / count ** (number - 1) + _rounding(count) for count in levels]
        assert bool((error <= torch.tensor(cell, dtype=torch.float64)).all())


@settings(max_examples=40)
@given(levels=some_levels, seed=st.integers(0, 10_000))
def test_residual_digits_are_those_of_the_interval_oracle(levels: list[int], seed: int) -> None:
    stages, latents = 3, _draw(seed, len(levels))
    codes = _residual(levels, stages).encode(latents)
    for row, found in zip(
        latents.movedim(1, -1).reshape(-1, len(levels)).tolist(),
        codes.movedim(1, -1).reshape(-1, stages).tolist(),
        strict=True,
    ):
        digits = [reference.digits(code, levels) for code in found]
        for channel, count in enumerate(levels):
            bounded = reference.bound(row[channel], count)
            # Float32 may fall on the other side of an edge that is nearer than its rounding error; nothing else.
            error = _rounding(count)
            near = [reference.residual_digits(bounded + shift, count, stages)[0] for shift in (-error, 0, error)]
            assert [stage[channel] for stage in digits] in near


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), active=st.integers(1, 4), dim=st.sampled_from([2, 5]))
def test_fewer_residual_stages_are_a_prefix(seed: int, active: int, dim: int) -> None:
    torch.manual_seed(seed)
    quantizer, latents = _residual([5, 4], 4, dim=dim), _draw(seed, dim)
    whole, part = quantizer(latents), quantizer(latents, num_active=active)
    assert torch.equal(part.codes, whole.codes[:, :active])
    assert torch.equal(quantizer.encode(latents, num_active=active), part.codes)
    assert torch.equal(quantizer.decode(whole.codes[:, :active]), part.latents)


def test_a_residual_gradient_is_that_of_the_bound_once() -> None:
    latents, weight = _draw(0, 2).requires_grad_(), _draw(1, 2)
    (once,) = torch.autograd.grad((_quantizer([5, 4])(latents).latents * weight).sum(), latents)
    (stacked,) = torch.autograd.grad((_residual([5, 4], 4)(latents).latents * weight).sum(), latents)
    torch.testing.assert_close(stacked, once, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("stages", [12, 25])
def test_stages_finer_than_float32_do_no_harm(stages: int) -> None:
    quantizer, latents = _residual([8, 7], stages), _draw(0, 2)
    result = quantizer(latents)
    assert torch.equal(quantizer.encode(latents), result.codes)
    assert torch.equal(quantizer.decode(result.codes), result.latents)
    bounded = quantizer.bound(latents.movedim(1, -1)).movedim(-1, 1)
    torch.testing.assert_close(result.latents, bounded, rtol=0, atol=5e-7)  # float32 sums of values up to 1


@pytest.mark.parametrize("levels", [2, 5, 8])
def test_the_edges_of_a_cell_belong_to_it(levels: int) -> None:
    """Rounding to even leaves exactly half a cell, on either side, and rounding errors more."""
    stage = _residual([levels, 3], 3).stages[1]
    assert isinstance(stage, CellQuantizer)
    edge = 0.5 / (levels // 2)
    rows = torch.tensor([[-1.001 * edge, -edge, edge, 1.001 * edge], [0.0] * 4])[None]
    codes = stage.encode(rows)
    assert codes.tolist() == [[[levels, levels, 2 * levels - 1, 2 * levels - 1]]]  # and the middle of three
    assert bool(((stage.decode(codes) - rows)[0, 0].abs() <= edge / levels * 1.01).all())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_modules_cut_the_same_cells(dtype: torch.dtype) -> None:
    plain, cast, latents = _residual([8, 7], 6), _residual([8, 7], 6).to(dtype), _draw(0, 2)
    codes = plain.encode(latents)
    assert torch.equal(cast.encode(latents), codes)
    assert torch.equal(cast.dequantize(codes), plain.dequantize(codes))


def test_levels_that_make_no_code_are_refused() -> None:
    for levels in ([], [1, 4], [8] * 21):
        with pytest.raises(UserError, match="levels"):
            parse_quantizer({"kind": "fsq", "levels": levels})
