"""Each estimator's gradient is its paper's, checked against a matrix or against autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from codec.quantize.build import build_quantizer, parse_quantizer
from codec.quantize.estimators import ESTIMATORS, Estimator, diveq, rotate, straight_through
from tests.references import rotation as reference


def _rows(seed: int, rows: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, vectors and an output gradient, float64."""
    generator = torch.Generator().manual_seed(seed)
    inputs, vectors, grad = torch.randn(3, rows, dim, dtype=torch.float64, generator=generator)
    return inputs.requires_grad_(), vectors.requires_grad_(), grad


@pytest.mark.parametrize("name", ESTIMATORS)
@given(seed=st.integers(0, 1000), scale=st.sampled_from([1e-30, 1.0, 1e18]), dtype=st.sampled_from(["32", "64"]))
def test_the_value_is_the_vectors_bit_for_bit(name: Estimator, seed: int, scale: float, dtype: str) -> None:
    inputs, vectors, _ = _rows(seed, 7, 5)
    inputs, vectors = (side.to(torch.float32 if dtype == "32" else torch.float64) for side in (inputs, vectors * scale))
    assert torch.equal(ESTIMATORS[name](inputs, vectors), vectors)


def test_straight_through_gives_all_to_the_inputs_and_nothing_to_the_vectors() -> None:
    inputs, vectors, grad = _rows(0, 6, 4)
    found = torch.autograd.grad(straight_through(inputs, vectors), (inputs, vectors), grad, allow_unused=True)
    assert found[0] is not None and torch.equal(found[0], grad) and found[1] is None


@given(seed=st.integers(0, 10_000), dim=st.integers(1, 8))
def test_the_oracles_matrix_is_the_rotation_that_maps_one_direction_on_the_other(seed: int, dim: int) -> None:
    start, end = np.random.default_rng(seed).standard_normal((2, dim))
    end = np.abs(end) * np.sign(start) if dim == 1 else end
    matrix = reference.rotation(start, end)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(dim), atol=1e-7)  # 1e-7: nearly opposite vectors
    np.testing.assert_allclose(np.linalg.det(matrix), 1, atol=1e-7)
    np.testing.assert_allclose(matrix @ start / np.linalg.norm(start), end / np.linalg.norm(end), atol=1e-7)


@given(seed=st.integers(0, 10_000), dim=st.integers(2, 8), scale=st.sampled_from([1e-3, 1.0, 50.0]))
def test_rotation_pulls_the_gradient_back_through_the_papers_matrix(seed: int, dim: int, scale: float) -> None:
    inputs, vectors, grad = _rows(seed, 6, dim)
    output = rotate(inputs, vectors * scale)
    found = torch.autograd.grad(output, (inputs, vectors), grad, allow_unused=True)
    wanted = [
        reference.pulled_back(start, end * scale, pull)
        for start, end, pull in zip(inputs.detach().numpy(), vectors.detach().numpy(), grad.numpy(), strict=True)
    ]
    assert found[0] is not None and found[1] is None
    np.testing.assert_allclose(found[0].numpy(), wanted, rtol=1e-6, atol=1e-6 * scale)  # nearly opposite vectors


def test_rotation_in_float32_is_that_of_float64() -> None:
    inputs, vectors, grad = _rows(0, 200, 16)
    (exact,) = torch.autograd.grad(rotate(inputs, vectors), inputs, grad)
    single = inputs.detach().float().requires_grad_()
    (found,) = torch.autograd.grad(rotate(single, vectors.detach().float()), single, grad.float())
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-5)


def test_rotation_keeps_the_angle_between_gradient_and_vector() -> None:
    inputs, vectors, grad = _rows(1, 50, 6)
    (found,) = torch.autograd.grad(rotate(inputs, vectors), inputs, grad)
    after = torch.cosine_similarity(found, inputs.detach(), dim=1)
    torch.testing.assert_close(after, torch.cosine_similarity(grad, vectors.detach(), dim=1), rtol=1e-8, atol=1e-8)


def test_rotation_of_equal_rows_is_the_identity() -> None:
    inputs, _, grad = _rows(2, 9, 5)
    (found,) = torch.autograd.grad(rotate(inputs, inputs.detach().clone()), inputs, grad)
    torch.testing.assert_close(found, grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("factor", [-1.0, -3.0, -0.1, -7e5])
def test_opposite_rows_fall_back_to_straight_through(factor: float) -> None:
    """Rounding leaves a vector between the two that is short but not zero; it must not be taken for a direction."""
    for dtype in (torch.float32, torch.float64):
        inputs, _, grad = (side.detach().to(dtype) for side in _rows(3, 200, 6))
        inputs.requires_grad_()
        (found,) = torch.autograd.grad(rotate(inputs, factor * inputs.detach()), inputs, grad)
        assert torch.equal(found, grad)


def test_zero_rows_fall_back_to_straight_through_and_leave_the_others_alone() -> None:
    inputs, vectors, grad = _rows(4, 6, 4)
    (whole,) = torch.autograd.grad(rotate(inputs, vectors), inputs, grad)
    start, end = inputs.detach().clone(), vectors.detach().clone()
    start[0], end[1], start[2], end[2] = 0, 0, 0, 0
    start.requires_grad_()
    (found,) = torch.autograd.grad(rotate(start, end), start, grad)
    assert torch.equal(found[[0, 2]], grad[[0, 2]])
    assert torch.equal(found[3:], whole[3:])
    assert torch.equal(found[1], grad[1])


@given(seed=st.integers(0, 10_000), dim=st.integers(1, 8))
def test_diveq_has_the_gradient_of_its_definition(seed: int, dim: int) -> None:
    inputs, vectors, grad = _rows(seed, 6, dim)
    gap = vectors - inputs
    length = gap.norm(dim=1, keepdim=True)
    defined = inputs + length * (gap / length).detach()
    torch.testing.assert_close(diveq(inputs, vectors), defined, rtol=1e-12, atol=1e-12)
    wanted = torch.autograd.grad(defined, (inputs, vectors), grad)
    found = torch.autograd.grad(diveq(inputs, vectors), (inputs, vectors), grad)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def test_diveq_of_equal_rows_is_straight_through() -> None:
    inputs, _, grad = _rows(5, 6, 4)
    vectors = inputs.detach().clone().requires_grad_()
    found = torch.autograd.grad(diveq(inputs, vectors), (inputs, vectors), grad)
    assert torch.equal(found[0], grad) and not found[1].any()


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), name=st.sampled_from(["straight_through", "rotation", "diveq"]))
def test_a_quantizer_uses_the_estimator_that_it_is_told(seed: int, name: Estimator) -> None:
    torch.manual_seed(seed)
    config = {"kind": "gradient", "codebook_size": 9, "estimator": name, "init": "normal"}
    quantizer = build_quantizer(parse_quantizer(config), 4).eval()
    latents, weight = torch.randn(2, 4, 5, requires_grad=True), torch.randn(2, 4, 5)
    result = quantizer(latents)
    (found,) = torch.autograd.grad((result.latents * weight).sum(), latents)
    rows, grad, vectors = (
        side.movedim(1, -1).reshape(-1, 4) for side in (latents.detach(), weight, result.latents.detach())
    )
    rows = rows.requires_grad_()
    (wanted,) = torch.autograd.grad(ESTIMATORS[name](rows, vectors), rows, grad)
    assert torch.equal(found.movedim(1, -1).reshape(-1, 4), wanted)
