"""One linear map moves all entries of a frozen codebook."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from codec.quantize.build import build_quantizer, parse_quantizer
from codec.quantize.simvq import SimVQQuantizer
from tests.references.vector_quantizer import nearest, orthogonality

SIZE, DIM = 12, 4


def _quantizer(**options: object) -> SimVQQuantizer:
    torch.manual_seed(0)
    quantizer = build_quantizer(parse_quantizer({"kind": "simvq", "codebook_size": SIZE, **options}), DIM)
    assert isinstance(quantizer, SimVQQuantizer)
    return quantizer


def _draw(seed: int) -> Tensor:
    return torch.randn(2, DIM, 30, generator=torch.Generator().manual_seed(seed))


def _mapped(quantizer: SimVQQuantizer) -> np.ndarray:
    return quantizer.base.double().numpy() @ quantizer.mapping.weight.detach().double().numpy().T


def test_codes_and_decode_use_the_mapped_entries() -> None:
    quantizer, latents = _quantizer(), _draw(0)
    result = quantizer(latents)
    entries = _mapped(quantizer)
    rows = latents.movedim(1, -1).reshape(-1, DIM).double().numpy()
    codes = nearest(rows, entries)
    assert np.array_equal(result.codes.reshape(-1).numpy(), codes)
    decoded = quantizer.decode(torch.arange(SIZE)[None, None])[0].t()
    np.testing.assert_allclose(decoded.detach().numpy(), entries, rtol=1e-5, atol=1e-6)  # a float32 product
    assert not torch.allclose(decoded, quantizer.base, atol=0.1)


def test_the_codebook_loss_is_that_of_the_product_of_base_and_map() -> None:
    quantizer, latents = _quantizer(orthogonal=True), _draw(1)
    losses = quantizer(latents).losses
    weight = quantizer.mapping.weight.detach().double().requires_grad_()
    entries = quantizer.base.double() @ weight.t()
    rows = latents.movedim(1, -1).reshape(-1, DIM).double()
    codes = torch.from_numpy(nearest(rows.numpy(), entries.detach().numpy()))
    wanted = (rows - entries[codes]).square().mean()
    torch.testing.assert_close(losses["codebook"].double(), wanted, rtol=1e-5, atol=1e-7)
    (found,) = torch.autograd.grad(losses["codebook"], [quantizer.mapping.weight], retain_graph=True)
    torch.testing.assert_close(found.double(), torch.autograd.grad(wanted, weight)[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(float(losses["orthogonality"].detach()), orthogonality(_mapped(quantizer)), rtol=1e-5)


def test_a_step_moves_every_entry_and_never_the_base() -> None:
    quantizer = _quantizer()
    base, before = quantizer.base.clone(), quantizer.entries().detach().clone()
    latents = before[:1].t()[None].expand(1, DIM, 20) + 0.1  # near one entry alone
    result = quantizer(latents)
    assert len(result.codes.unique()) == 1
    parameters = dict(quantizer.named_parameters())
    assert set(parameters) == {"mapping.weight"}
    optimiser = torch.optim.SGD(quantizer.parameters(), 0.1)
    result.losses["codebook"].backward()
    optimiser.step()
    assert torch.equal(quantizer.base, base) and not quantizer.base.requires_grad
    moved = (quantizer.entries() - before).norm(dim=1)
    assert bool((moved > 0).all())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_base_is_float32_in_any_module(dtype: torch.dtype) -> None:
    quantizer = _quantizer()
    base = quantizer.base.clone()
    quantizer.to(dtype)
    assert quantizer.base.dtype == torch.float32 and torch.equal(quantizer.base, base)
    assert quantizer.mapping.weight.dtype == dtype


def test_the_base_is_part_of_the_saved_state() -> None:
    left = _quantizer()
    torch.manual_seed(1)
    right = build_quantizer(parse_quantizer({"kind": "simvq", "codebook_size": SIZE}), DIM)
    right.load_state_dict(left.state_dict())
    assert torch.equal(left.encode(_draw(2)), right.encode(_draw(2)))


def test_the_first_batch_gives_the_entries_the_second_moments_of_its_real_positions() -> None:
    quantizer = build_quantizer(parse_quantizer({"kind": "simvq", "codebook_size": 4096}), 3)
    assert isinstance(quantizer, SimVQQuantizer)
    latents = torch.randn(4, 3, 500, generator=torch.Generator().manual_seed(0)) * torch.tensor([[9.0], [1.0], [0.1]])
    latents[:, 1] += 5 * latents[:, 2]
    mask = torch.arange(500) < torch.tensor([500, 300, 0, 500])[:, None]
    quantizer(torch.where(mask[:, None], latents, 1e3), mask=mask)
    rows = latents.movedim(1, -1)[mask].double()
    wanted = rows.t() @ rows / len(rows)
    weight = quantizer.mapping.weight.detach().double()
    torch.testing.assert_close(weight @ weight.t(), wanted, rtol=1e-4, atol=1e-4)  # the ridge, and float32
    before = quantizer.mapping.weight.detach().clone()
    quantizer(latents + 100)
    assert torch.equal(quantizer.mapping.weight, before)
