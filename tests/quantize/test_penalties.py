"""Penalties equal their definitions in float64, wherever the data lies and however the work is cut."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from codec.quantize import chunks
from codec.quantize.build import build_quantizer, parse_quantizer
from codec.quantize.codebook import CodebookQuantizer
from codec.quantize.gradient import GradientQuantizer
from codec.quantize.penalties import diversity, entropies, orthogonality
from codec.quantize.rows import Assignment
from codec.quantize.stats import BatchSums
from tests.references import soft_assignment as reference
from tests.references import vector_quantizer

DIM = 4


def _quantizer(seed: int = 0, **options: object) -> GradientQuantizer:
    torch.manual_seed(seed)
    config = {"kind": "gradient", "codebook_size": 11, "init": "normal", "entropy_temperature": 1.0, **options}
    quantizer = build_quantizer(parse_quantizer(config), DIM).eval()
    assert isinstance(quantizer, GradientQuantizer)
    return quantizer


def _draw(seed: int, *, length: int = 9) -> Tensor:
    return torch.randn(2, DIM, length, generator=torch.Generator().manual_seed(seed))


def _mask(seed: int) -> Tensor:
    mask = torch.rand(2, 9, generator=torch.Generator().manual_seed(seed)) < 0.6
    mask[0, 0] = True
    return mask


def _assignment(rows: Tensor, *, size: int = 5) -> Assignment:
    """Rows of which only the number matters."""
    codes = torch.zeros(len(rows), dtype=torch.int64)
    zero = rows.detach().new_zeros(())
    sums = BatchSums(zero + len(rows), rows.new_zeros(size), zero, None)
    return Assignment(rows, rows, None, codes, rows, torch.zeros_like(rows), zero, sums, False)


@given(seed=st.integers(0, 10_000), size=st.integers(2, 20), dim=st.integers(1, 8), scale=st.sampled_from([1e-3, 1e3]))
def test_orthogonality_is_that_of_all_pairs_of_entries(seed: int, size: int, dim: int, scale: float) -> None:
    entries = torch.randn(size, dim, generator=torch.Generator().manual_seed(seed)) * scale
    wanted = vector_quantizer.orthogonality(entries.double().numpy())
    # The diagonal of K ones cancels to a rounding of K / K^2.
    np.testing.assert_allclose(float(orthogonality(entries)), wanted, rtol=1e-5, atol=1e-6)


def test_orthogonality_of_orthogonal_entries_is_zero_and_of_equal_ones_nearly_one() -> None:
    torch.testing.assert_close(orthogonality(3 * torch.eye(6)), torch.zeros(()), rtol=0, atol=1e-7)
    torch.testing.assert_close(orthogonality(torch.ones(6, 3)), torch.tensor(30 / 36))


def test_gradients_agree_with_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    entries = torch.randn(5, 3, dtype=torch.float64, generator=generator).requires_grad_()
    rows = torch.randn(7, 3, dtype=torch.float64, generator=generator).requires_grad_()
    bias = torch.randn(5, dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(orthogonality, (entries,))

    def both(rows: Tensor, entries: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        return tuple(entropies(rows, entries, bias, _assignment(rows), temperature=0.7).values())

    assert torch.autograd.gradcheck(both, (rows, entries, bias))


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    temperature=st.sampled_from([0.3, 1.0, 5.0]),
    masked=st.booleans(),
    lookup=st.sampled_from(["euclidean", "cosine"]),
)
def test_entropies_and_their_gradients_are_those_of_squared_distances(
    seed: int, temperature: float, masked: bool, lookup: str
) -> None:
    quantizer = _quantizer(seed, entropy_temperature=temperature, lookup=lookup)
    latents, mask = _draw(seed).requires_grad_(), _mask(seed) if masked else None
    losses = quantizer(latents, mask=mask).losses
    exact = [side.detach().double().requires_grad_() for side in (latents, quantizer.codebook)]
    rows, table = exact[0].movedim(1, -1), exact[1]
    rows = rows.reshape(-1, DIM) if mask is None else rows[mask]
    if lookup == "cosine":
        rows, table = rows / rows.norm(dim=1, keepdim=True), table / table.norm(dim=1, keepdim=True)
    p = reference.probabilities(rows, table, temperature)
    for name, wanted in (("entropy", reference.entropy(p)), ("diversity", reference.diversity(p))):
        torch.testing.assert_close(losses[name].double(), wanted, rtol=1e-5, atol=2e-6)  # float32 logarithms
        found = torch.autograd.grad(losses[name], (latents, quantizer.codebook), retain_graph=True)
        for left, right in zip(found, torch.autograd.grad(wanted, exact, retain_graph=True), strict=True):
            torch.testing.assert_close(left.double(), right, rtol=1e-4, atol=5e-6 / min(temperature, 1))


@pytest.mark.parametrize("offset", [1000.0, -3e4])
def test_a_common_offset_does_not_matter(offset: float) -> None:
    grain = 64  # so that latents and entries are exact beside the offset
    quantizer, shifted = _quantizer(1), _quantizer(1)
    latents = ((_draw(1) * grain).round() / grain).requires_grad_()
    with torch.no_grad():
        quantizer.codebook.copy_((quantizer.codebook * grain).round() / grain)
        shifted.codebook.copy_(quantizer.codebook + offset)
    away = (latents.detach() + offset).requires_grad_()
    wanted, found = quantizer(latents).losses, shifted(away).losses
    for name in ("entropy", "diversity", "commitment", "codebook"):
        # The mean of the entries is rounded to 2^-9 beside an offset of 3e4; the distances do not depend on it.
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-4, atol=1e-5)
    for name in ("entropy", "diversity"):
        (left,) = torch.autograd.grad(found[name], away, retain_graph=True)
        (right,) = torch.autograd.grad(wanted[name], latents, retain_graph=True)
        torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-5)


def test_padding_is_invisible_in_losses_and_gradients() -> None:
    quantizer, mask = _quantizer(2, orthogonal=True), _mask(2)
    latents = _draw(2)
    loud = latents.masked_fill(~mask[:, None], 1e6).requires_grad_()
    alone = latents.movedim(1, -1)[mask].t()[None].contiguous().requires_grad_()
    found, wanted = quantizer(loud, mask=mask).losses, quantizer(alone).losses
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)  # sums in another order
    (left,) = torch.autograd.grad(sum(found.values(), torch.zeros(())), loud)
    (right,) = torch.autograd.grad(sum(wanted.values(), torch.zeros(())), alone)
    torch.testing.assert_close(left.movedim(1, -1)[mask], right[0].t(), rtol=1e-4, atol=1e-6)
    assert not left.movedim(1, -1)[~mask].any()


@given(size=st.integers(2, 300), ranks=st.integers(1, 50))
def test_diversity_of_an_even_mean_is_zero_and_of_one_code_log_k(size: int, ranks: int) -> None:
    some = _assignment(torch.zeros(ranks, 2))
    even = diversity([torch.full((size,), ranks / size)], some)
    torch.testing.assert_close(even, torch.zeros(()), rtol=0, atol=5e-6)  # float32: log K and a sum of K terms
    single = torch.zeros(size).index_fill_(0, torch.tensor([size - 1]), ranks)
    torch.testing.assert_close(diversity([single], some), torch.tensor(math.log(size)))


@pytest.mark.parametrize("kind", ["gradient", "ema", "simvq", "ibq"])
def test_gradients_are_finite_where_entries_have_no_probability_left(kind: str) -> None:
    """In float32 it is exactly 0 there; p log p has the limit 0, and so has its gradient."""
    torch.manual_seed(0)
    config = {"kind": kind, "codebook_size": 11, "entropy_temperature": 0.01}
    quantizer = build_quantizer(parse_quantizer(config), DIM).eval()
    latents = (5 * _draw(0)).requires_grad_()
    exact = latents.detach().double().requires_grad_()
    rows = exact.movedim(1, -1).reshape(-1, DIM)
    if isinstance(quantizer, CodebookQuantizer):
        p = reference.probabilities(rows, quantizer.entries().detach().double(), 0.01)
    else:
        assert isinstance(quantizer.codebook, Tensor)
        p = (rows @ quantizer.codebook.detach().double().t() / 0.01).softmax(1)
    losses, wanted = quantizer(latents).losses, {"entropy": reference.entropy(p), "diversity": reference.diversity(p)}
    for name, loss in wanted.items():
        torch.testing.assert_close(losses[name].double(), loss, rtol=1e-4, atol=1e-4)  # logits up to 1e4 in float32
        (found,) = torch.autograd.grad(losses[name], latents, retain_graph=True)
        (right,) = torch.autograd.grad(loss, exact, retain_graph=True)
        torch.testing.assert_close(found.double(), right, rtol=1e-2, atol=1e-2)  # and the gradient 100 times that


def test_chunks_change_neither_losses_nor_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> list[Tensor]:
        quantizer, latents = _quantizer(3), _draw(3).requires_grad_()
        losses = quantizer(latents, mask=_mask(3)).losses
        total = losses["entropy"] + 2 * losses["diversity"]
        return [*losses.values(), *torch.autograd.grad(total, (latents, quantizer.codebook))]

    whole = run()
    for cells in (1, 11, 40):  # a row of 11 at a time, and no whole number of them
        monkeypatch.setattr(chunks, "CELLS", cells)
        for left, right in zip(run(), whole, strict=True):
            torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)  # sums in another order


@pytest.mark.parametrize("kind", ["gradient", "ibq", "gumbel"])
def test_no_matrix_of_all_rows_and_entries_is_made_or_kept(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    size, rows, cells = 4096, 1024, 1 << 18
    monkeypatch.setattr(chunks, "CELLS", cells)
    torch.manual_seed(0)
    options = {} if kind == "gumbel" else {"entropy_temperature": 1.0}
    if kind == "gradient":
        options |= {"init": "normal", "restart_below": 0.0}
    quantizer = build_quantizer(parse_quantizer({"kind": kind, "codebook_size": size, **options}), 8)
    latents = torch.randn(1, 8, rows, requires_grad=True)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as forward:
        result = quantizer(latents)
        loss = result.latents.sum() + sum(result.losses.values())
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as backward:
        loss.backward()
    whole = 4 * size * rows
    kept = sum(event.self_cpu_memory_usage for event in forward.events() or [])
    assert kept < whole / 4
    for profile in (forward, backward):
        largest = max(abs(event.self_cpu_memory_usage) for event in profile.events() or [])
        assert largest <= whole / 2  # the search has pieces of 4 MiB of its own
