"""Relaxed draws have the value, the gradient and the divergence of their definitions, however they are cut."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from codec.quantize import chunks
from codec.quantize.build import build_quantizer, parse_quantizer
from codec.quantize.gumbel import GumbelQuantizer
from tests.references import relaxations
from tests.references import soft_assignment as reference

SIZE, DIM = 11, 5  # no multiple of any chunk


def _quantizer(seed: int = 0, **options: object) -> GumbelQuantizer:
    torch.manual_seed(seed)
    quantizer = build_quantizer(parse_quantizer({"kind": "gumbel", "codebook_size": SIZE, **options}), DIM)
    assert isinstance(quantizer, GumbelQuantizer)
    return quantizer


def _draw(seed: int, *, length: int = 9) -> Tensor:
    return torch.randn(2, DIM, length, generator=torch.Generator().manual_seed(seed))


def _rows(latents: Tensor) -> Tensor:
    return latents.movedim(1, -1).reshape(-1, latents.shape[1])


def _noise(seed: int, rows: int) -> Tensor:
    """Gumbel noise as a seed gives it to one draw of all rows."""
    torch.manual_seed(seed)
    return torch.rand(rows, SIZE).log_().neg_().log_().neg_()


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), masked=st.booleans(), training=st.booleans())
def test_kl_and_its_gradient_are_those_of_the_listed_codes(seed: int, masked: bool, training: bool) -> None:
    quantizer, latents = _quantizer(seed).train(training), _draw(seed).requires_grad_()
    mask = torch.rand(2, 9, generator=torch.Generator().manual_seed(seed)) < 0.6
    mask[0, 0] = True
    loss = quantizer(latents, mask=mask if masked else None).losses["kl"]
    exact = [side.detach().double().requires_grad_() for side in (latents, *quantizer.logits.parameters())]
    rows = exact[0].movedim(1, -1)[mask] if masked else _rows(exact[0])
    wanted = reference.divergence_from_uniform((rows @ exact[1].t() + exact[2]).softmax(1))
    torch.testing.assert_close(loss.double(), wanted, rtol=1e-5, atol=1e-6)  # float32 logarithms
    found = torch.autograd.grad(loss, (latents, *quantizer.logits.parameters()))
    for left, right in zip(found, torch.autograd.grad(wanted, exact), strict=True):
        torch.testing.assert_close(left.double(), right, rtol=1e-4, atol=1e-6)


def test_kl_of_uniform_logits_is_zero() -> None:
    quantizer = _quantizer()
    for parameter in quantizer.logits.parameters():
        torch.nn.init.zeros_(parameter)
    torch.testing.assert_close(quantizer(_draw(0)).losses["kl"], torch.zeros(()), rtol=0, atol=1e-6)


@given(start=st.floats(0.1, 4), end=st.floats(0.01, 4), steps=st.integers(1, 500), step=st.integers(0, 600))
def test_temperature_falls_along_half_a_cosine(start: float, end: float, steps: int, step: int) -> None:
    quantizer = _quantizer(temperature=start, final_temperature=end, anneal_steps=steps)
    quantizer.step.fill_(step)
    wanted = relaxations.cosine_temperature(step, start=start, end=end, steps=steps)
    assert math.isclose(float(quantizer.temperature()), wanted, rel_tol=1e-5, abs_tol=4e-7)  # a float32 cosine


def test_temperature_has_the_ends_and_the_middle_that_it_is_told() -> None:
    quantizer = _quantizer(temperature=2.0, final_temperature=0.5, anneal_steps=8)
    for step, wanted in ((0, 2.0), (4, 1.25), (8, 0.5), (1000, 0.5)):
        quantizer.step.fill_(step)
        assert math.isclose(float(quantizer.temperature()), wanted, rel_tol=1e-6)


def test_step_counts_training_batches_with_a_real_position_only() -> None:
    quantizer, nothing = _quantizer(anneal_steps=4), torch.zeros(2, 9, dtype=torch.bool)
    quantizer(_draw(0))
    quantizer(_draw(0), mask=nothing)
    assert int(quantizer.step) == 1
    quantizer.eval()(_draw(0))
    quantizer.encode(_draw(0))
    assert int(quantizer.step) == 1
    quantizer.train()(_draw(0), mask=~nothing)
    assert int(quantizer.step) == 2


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), temperature=st.sampled_from([0.1, 1.0, 3.0]))
def test_training_output_is_the_softmax_of_noisy_logits_times_the_codebook(seed: int, temperature: float) -> None:
    quantizer = _quantizer(seed, temperature=temperature)
    latents, weight = _draw(seed).requires_grad_(), _draw(seed + 1)
    parameters = (*quantizer.logits.parameters(), quantizer.codebook)
    exact = [side.detach().double().requires_grad_() for side in (latents, *parameters)]
    noise = _noise(seed, 18).double()
    wanted = relaxations.gumbel_output(_rows(exact[0]) @ exact[1].t() + exact[2], noise, temperature, exact[3])
    torch.manual_seed(seed)
    output = quantizer(latents).latents
    scale = 1 / min(temperature, 1)  # which magnifies float32's roundings of the logits, and the gradient
    torch.testing.assert_close(_rows(output).double(), wanted, rtol=1e-5, atol=3e-6 * scale)
    found = torch.autograd.grad((output * weight).sum(), (latents, *parameters))
    for left, right in zip(found, torch.autograd.grad((wanted * _rows(weight)).sum(), exact), strict=True):
        torch.testing.assert_close(left.double(), right, rtol=1e-4, atol=3e-5 * scale**2)


@pytest.mark.parametrize("cells", [1, SIZE, 4 * SIZE + 3])
def test_chunks_change_neither_value_nor_gradient(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> list[Tensor]:
        quantizer, latents = _quantizer(3), _draw(3).requires_grad_()
        torch.manual_seed(5)
        result = quantizer(latents)
        torch.manual_seed(6)  # what is drawn between the two runs of a chunk has no influence
        loss = (result.latents * _draw(4)).sum() + result.losses["kl"]
        parameters = (latents, *quantizer.logits.parameters(), quantizer.codebook)
        return [result.latents, result.losses["kl"], *torch.autograd.grad(loss, parameters)]

    whole = run()
    monkeypatch.setattr(chunks, "CELLS", cells)
    for left, right in zip(run(), whole, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)  # sums in another order


def test_at_a_low_temperature_the_output_is_the_entry_of_the_largest_noisy_logit() -> None:
    quantizer, latents = _quantizer(temperature=1e-4), _draw(0)
    chosen = (quantizer.logits(_rows(latents)) + _noise(7, 18)).argmax(1)
    torch.manual_seed(7)
    output = quantizer(latents).latents
    torch.testing.assert_close(_rows(output), quantizer.codebook[chosen], rtol=1e-4, atol=1e-4)  # e^(-gap / 1e-4)


def test_sure_logits_at_a_low_temperature_give_what_decode_gives() -> None:
    quantizer, latents = _quantizer(temperature=0.01), _draw(0)
    torch.nn.init.zeros_(quantizer.logits.bias)
    with torch.no_grad():
        quantizer.logits.weight.mul_(1e4)  # so that no noise decides
    result = quantizer(latents)
    torch.testing.assert_close(result.latents, quantizer.decode(result.codes))
    assert torch.equal(result.codes, quantizer.encode(latents))


def test_codes_are_the_likeliest_and_eval_hands_on_their_entries() -> None:
    quantizer, latents = _quantizer(1), _draw(1)
    likeliest = quantizer.logits(_rows(latents)).argmax(1)
    training, evaluated = quantizer(latents), quantizer.eval()(latents)
    for codes in (training.codes, evaluated.codes, quantizer.encode(latents)):
        assert torch.equal(codes.reshape(-1), likeliest)
    assert torch.equal(_rows(evaluated.latents), quantizer.codebook[likeliest])
    assert not torch.equal(training.latents, evaluated.latents)


def test_draws_follow_the_probabilities() -> None:
    quantizer = _quantizer(2, temperature=1e-3)
    latents = _draw(2, length=1)[:1].expand(1, DIM, 20_000)
    output = _rows(quantizer(latents).latents.detach())
    drawn = torch.cdist(output, quantizer.codebook.detach()).argmin(1)
    shares = torch.bincount(drawn, minlength=SIZE) / len(drawn)
    p = quantizer.logits(latents[0, :, 0]).softmax(0)
    assert bool(((shares - p).abs() < 5 * (p * (1 - p) / len(drawn)).sqrt()).all())  # five standard deviations
