"""Index backpropagation hands on an entry, and sends the gradient of the softmax to all of them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from codec.quantize import chunks
from codec.quantize.build import build_quantizer, parse_quantizer
from codec.quantize.ibq import IBQQuantizer
from tests.references import relaxations
from tests.references import soft_assignment as reference

SIZE, DIM = 13, 4


def _quantizer(seed: int = 0, **options: object) -> IBQQuantizer:
    torch.manual_seed(seed)
    quantizer = build_quantizer(parse_quantizer({"kind": "ibq", "codebook_size": SIZE, **options}), DIM)
    assert isinstance(quantizer, IBQQuantizer)
    return quantizer


def _draw(seed: int, *, length: int = 8) -> Tensor:
    return torch.randn(2, DIM, length, generator=torch.Generator().manual_seed(seed))


def _rows(latents: Tensor) -> Tensor:
    return latents.movedim(1, -1).reshape(-1, latents.shape[1])


@given(seed=st.integers(0, 10_000), training=st.booleans())
def test_the_output_is_the_entry_of_the_largest_product(seed: int, training: bool) -> None:
    quantizer, latents = _quantizer(seed).train(training), _draw(seed)
    result = quantizer(latents)
    products = _rows(latents).double() @ quantizer.codebook.detach().double().t()
    assert torch.equal(result.codes.reshape(-1), products.argmax(1))
    assert torch.equal(_rows(result.latents), quantizer.codebook[result.codes.reshape(-1)])
    assert torch.equal(quantizer.decode(result.codes), result.latents)


def test_the_largest_product_wins_over_the_nearest_entry() -> None:
    quantizer = _quantizer()
    with torch.no_grad():
        quantizer.codebook.zero_()
        quantizer.codebook[3], quantizer.codebook[5] = 1.0, 9.0
    assert quantizer.encode(torch.ones(1, DIM, 1)).item() == 5


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_output_gradients_are_those_of_all_probabilities_at_once(seed: int) -> None:
    quantizer, latents, weight = _quantizer(seed), _draw(seed).requires_grad_(), _draw(seed + 1)
    exact = [side.detach().double().requires_grad_() for side in (latents, quantizer.codebook)]
    wanted = relaxations.index_backpropagation(_rows(exact[0]), exact[1])
    output = quantizer(latents).latents
    torch.testing.assert_close(_rows(output).double(), wanted, rtol=0, atol=1e-12)
    found = torch.autograd.grad((output * weight).sum(), (latents, quantizer.codebook))
    right = torch.autograd.grad((wanted * _rows(weight)).sum(), exact)
    for left, other in zip(found, right, strict=True):
        torch.testing.assert_close(left.double(), other, rtol=1e-4, atol=1e-5)  # float32 softmax and sums
    assert bool((found[1].abs().sum(1) > 0).all())  # every entry learns


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), masked=st.booleans(), temperature=st.sampled_from([0.3, 1.0]))
def test_losses_and_their_gradients_are_those_of_their_definitions(seed: int, masked: bool, temperature: float) -> None:
    quantizer, latents = _quantizer(seed, entropy_temperature=temperature), _draw(seed).requires_grad_()
    mask = torch.rand(2, 8, generator=torch.Generator().manual_seed(seed)) < 0.6
    mask[0, 0] = True
    losses = quantizer(latents, mask=mask if masked else None).losses
    exact = [side.detach().double().requires_grad_() for side in (latents, quantizer.codebook)]
    rows, table = exact[0].movedim(1, -1)[mask] if masked else _rows(exact[0]), exact[1]
    output = relaxations.index_backpropagation(rows, table)
    hard = F.embedding((rows @ table.t()).argmax(1), table)
    p = (rows @ table.t() / temperature).softmax(1)
    wanted = {
        "commitment": (rows - hard.detach()).square().mean(),
        "codebook": (rows.detach() - hard).square().mean(),
        "index": (output - rows).square().mean(),
        "entropy": reference.entropy(p),
        "diversity": reference.diversity(p),
    }
    assert tuple(losses) == tuple(wanted) == quantizer.loss_names
    for name, loss in wanted.items():
        torch.testing.assert_close(losses[name].double(), loss, rtol=1e-5, atol=1e-6)
        found = torch.autograd.grad(losses[name], (latents, quantizer.codebook), retain_graph=True, allow_unused=True)
        right = torch.autograd.grad(loss, exact, retain_graph=True, allow_unused=True)
        for left, other in zip(found, right, strict=True):
            if other is None:
                assert left is None
            else:
                assert left is not None
                torch.testing.assert_close(left.double(), other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cells", [1, SIZE, 3 * SIZE + 5])
def test_chunks_change_neither_value_nor_gradient(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> list[Tensor]:
        quantizer, latents = _quantizer(3, entropy_temperature=0.5), _draw(3).requires_grad_()
        result = quantizer(latents)
        loss = (result.latents * _draw(4)).sum() + sum(result.losses.values())
        grads = torch.autograd.grad(loss, (latents, quantizer.codebook))
        return [result.latents, *result.losses.values(), *grads]

    whole = run()
    monkeypatch.setattr(chunks, "CELLS", cells)
    for left, right in zip(run(), whole, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)  # sums in another order


def test_without_gradients_the_same_is_handed_on() -> None:
    quantizer, latents = _quantizer(), _draw(0)
    with torch.no_grad():
        silent = quantizer(latents)
    assert torch.equal(silent.latents, quantizer(latents).latents)
