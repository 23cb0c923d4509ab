"""Codes of bits: their losses are those of all 2^d codes, which are listed here and nowhere else."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from codec.quantize import Quantizer
from codec.quantize.build import build_quantizer, parse_quantizer
from tests.references import soft_assignment as reference

both = pytest.mark.parametrize("kind", ["lfq", "bsq"])


def _quantizer(kind: str, bits: int, *, dim: int | None = None, **options: object) -> Quantizer:
    return build_quantizer(parse_quantizer({"kind": kind, "codebook_bits": bits, **options}), dim or bits)


def _draw(seed: int, bits: int, *, length: int = 6) -> Tensor:
    return torch.randn(2, bits, length, generator=torch.Generator().manual_seed(seed))


def _mask(seed: int, *, length: int = 6) -> Tensor:
    mask = torch.rand(2, length, generator=torch.Generator().manual_seed(seed)) < 0.6
    mask[0, 0] = True
    return mask


def _oracle(kind: str, latents: Tensor, mask: Tensor | None, temperature: float) -> dict[str, Tensor]:
    """The losses of float64 `latents` by definition."""
    rows = latents.movedim(1, -1)
    rows = rows.reshape(-1, rows.shape[-1]) if mask is None else rows[mask]
    level = 1.0
    if kind == "bsq":
        rows, level = rows / rows.norm(dim=1, keepdim=True), rows.shape[1] ** -0.5
    p = reference.probabilities(rows, reference.corners(rows.shape[1], level), temperature)
    signs = torch.where(rows > 0, level, -level).detach()
    return {
        "commitment": (rows - signs).square().mean(),
        "entropy": reference.entropy(p),
        "diversity": reference.diversity(p),
    }


@both
@settings(max_examples=30)
@given(
    seed=st.integers(0, 10_000),
    bits=st.integers(1, 8),
    temperature=st.sampled_from([0.1, 1.0, 7.0]),
    masked=st.booleans(),
)
def test_losses_and_their_gradients_are_those_of_all_codes_listed(
    kind: str, seed: int, bits: int, temperature: float, masked: bool
) -> None:
    quantizer = _quantizer(kind, bits, entropy_temperature=temperature)
    latents, mask = _draw(seed, bits).requires_grad_(), _mask(seed) if masked else None
    exact = latents.detach().double().requires_grad_()
    losses, wanted = quantizer(latents, mask=mask).losses, _oracle(kind, exact, mask, temperature)
    for name, loss in wanted.items():
        # Sums of float32 logarithms: an absolute error of some roundings of log K; gradients by 4 / temperature more.
        torch.testing.assert_close(losses[name].double(), loss, rtol=1e-5, atol=3e-6)
        (found,) = torch.autograd.grad(losses[name], latents, retain_graph=True)
        (right,) = torch.autograd.grad(loss, exact, retain_graph=True)
        torch.testing.assert_close(found.double(), right, rtol=1e-4, atol=3e-6 * max(1.0, 4 / temperature))


@both
@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), bits=st.integers(2, 8), group=st.integers(1, 7), masked=st.booleans())
def test_diversity_of_small_groups_is_their_sum_and_a_lower_bound(
    kind: str, seed: int, bits: int, group: int, masked: bool
) -> None:
    latents, mask = _draw(seed, bits), _mask(seed) if masked else None
    found = _quantizer(kind, bits, group_bits=group)(latents, mask=mask).losses
    rows = latents.double().movedim(1, -1)
    rows, level = (rows.reshape(-1, bits) if mask is None else rows[mask]), 1.0
    if kind == "bsq":
        rows, level = rows / rows.norm(dim=1, keepdim=True), bits**-0.5
    parts = [
        reference.probabilities(part, reference.corners(part.shape[1], level), 1.0) for part in rows.split(group, 1)
    ]
    wanted = torch.stack([reference.diversity(p) for p in parts]).sum()
    torch.testing.assert_close(found["diversity"].double(), wanted, rtol=1e-5, atol=3e-6)
    whole = _oracle(kind, latents.double(), mask, 1.0)
    torch.testing.assert_close(found["entropy"].double(), whole["entropy"], rtol=1e-5, atol=3e-6)
    assert float(found["diversity"]) <= float(whole["diversity"]) + 3e-6


@both
def test_gradients_are_finite_where_codes_have_no_probability_left(kind: str) -> None:
    """In float32 it is exactly 0 there; p log p has the limit 0, and so has its gradient."""
    quantizer = _quantizer(kind, 6, entropy_temperature=0.01)
    latents = (3 * _draw(0, 6)).requires_grad_()
    exact = latents.detach().double().requires_grad_()
    losses, wanted = quantizer(latents).losses, _oracle(kind, exact, None, 0.01)
    for name in ("entropy", "diversity"):
        (found,) = torch.autograd.grad(losses[name], latents, retain_graph=True)
        (right,) = torch.autograd.grad(wanted[name], exact, retain_graph=True)
        torch.testing.assert_close(found.double(), right, rtol=1e-3, atol=2e-3)  # 400 z: roundings weigh 400 times


@both
@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.0, 1e-3, 1.0, 1e4]))
def test_losses_stay_in_their_ranges(kind: str, seed: int, scale: float) -> None:
    losses = _quantizer(kind, 6)(scale * _draw(seed, 6)).losses
    for name in ("entropy", "diversity"):
        assert -1e-5 <= float(losses[name]) <= 6 * math.log(2) + 1e-5  # the same roundings


@both
def test_2_to_the_20_codes_take_kilobytes_and_no_tensor_of_that_size_appears(kind: str) -> None:
    quantizer = _quantizer(kind, 20, group_bits=10)
    held = [*quantizer.parameters(), *quantizer.buffers()]
    assert sum(tensor.numel() * tensor.element_size() for tensor in held) < 4096
    latents = _draw(0, 20, length=64).requires_grad_()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        result = quantizer(latents)
        (result.latents.sum() + sum(result.losses.values())).backward()
        quantizer.decode(quantizer.encode(latents.detach()))
    largest = max(abs(event.self_cpu_memory_usage) for event in profile.events() or [])
    assert largest <= 1 << 18  # bytes: 2^18 cells would be 2^20


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), bits=st.integers(1, 61))
def test_a_bit_is_the_sign_of_its_channel_and_the_first_counts_least(seed: int, bits: int) -> None:
    latents = _draw(seed, bits)
    for kind, level in (("lfq", 1.0), ("bsq", bits**-0.5)):
        result = _quantizer(kind, bits)(latents)
        torch.testing.assert_close(result.latents, latents.sign() * level, rtol=1e-7, atol=0)
        for row, code in zip(latents.movedim(1, -1).reshape(-1, bits), result.codes.reshape(-1).tolist(), strict=True):
            assert code == sum(1 << channel for channel, value in enumerate(row.tolist()) if value > 0)


def test_zero_counts_as_negative() -> None:
    result = _quantizer("lfq", 3)(torch.zeros(1, 3, 1))
    assert result.codes.item() == 0 and torch.equal(result.latents, -torch.ones(1, 3, 1))


def test_lfq_passes_gradients_straight_through() -> None:
    latents, weight = _draw(0, 5).requires_grad_(), _draw(1, 5)
    (gradient,) = torch.autograd.grad((_quantizer("lfq", 5)(latents).latents * weight).sum(), latents)
    assert torch.equal(gradient, weight)


def test_bsq_passes_gradients_through_the_projection_on_the_sphere() -> None:
    latents, weight = _draw(0, 5).requires_grad_(), _draw(1, 5)
    (gradient,) = torch.autograd.grad((_quantizer("bsq", 5)(latents).latents * weight).sum(), latents)
    exact = latents.detach().double().requires_grad_()
    (wanted,) = torch.autograd.grad(((exact / exact.norm(dim=1, keepdim=True)) * weight).sum(), exact)
    torch.testing.assert_close(gradient.double(), wanted, rtol=1e-5, atol=1e-6)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), bits=st.integers(1, 40), scale=st.sampled_from([1e-9, 1e-3, 1.0, 1e6, 1e15]))
def test_bsq_codes_lie_on_the_unit_sphere_whatever_the_length_of_latents(seed: int, bits: int, scale: float) -> None:
    quantizer, latents = _quantizer("bsq", bits), _draw(seed, bits)
    result = quantizer(latents * scale)
    torch.testing.assert_close(result.latents.norm(dim=1), torch.ones(2, 6), rtol=1e-6, atol=0)
    assert torch.equal(result.codes, quantizer(latents).codes)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), stages=st.integers(1, 12))
def test_residual_lfq_is_a_binary_expansion(seed: int, stages: int) -> None:
    """|z| <= 2 and levels 1, 1/2, 1/4 ... leave |z - q| <= 2^(1 - n) after n: each step halves the bound."""
    config = {"kind": "residual", "num_codebooks": stages, "codebook": {"kind": "lfq", "codebook_bits": 5}}
    quantizer = build_quantizer(parse_quantizer(config), 5).eval()
    latents = torch.rand(2, 5, 30, generator=torch.Generator().manual_seed(seed)) * 4 - 2
    codes = quantizer.encode(latents)
    for number in range(1, stages + 1):
        error = (quantizer.decode(codes[:, :number]) - latents).abs().max()
        assert float(error) <= 2.0 ** (1 - number)  # sums of powers of two are exact
    single = torch.zeros(1, stages, 1, dtype=torch.int64)
    assert float(quantizer.decode(single)[0, 0, 0]) == -sum(2.0**-stage for stage in range(stages))


def test_residual_bsq_stages_shrink_by_half() -> None:
    config = {"kind": "residual", "num_codebooks": 4, "codebook": {"kind": "bsq", "codebook_bits": 5}}
    quantizer = build_quantizer(parse_quantizer(config), 5).eval()
    codes = quantizer.encode(_draw(0, 5))
    for number in range(1, 4):
        step = quantizer.decode(codes[:, : number + 1]) - quantizer.decode(codes[:, :number])
        torch.testing.assert_close(step.norm(dim=1), torch.full((2, 6), 2.0**-number), rtol=1e-5, atol=0)
