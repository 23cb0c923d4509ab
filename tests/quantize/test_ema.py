"""The moving-average codebook does what the paper's appendix says, in any dtype."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.quantize.build import build_quantizer, parse_quantizer
from codec.quantize.ema import EMAQuantizer
from tests.references.vector_quantizer import MovingAverageCodebook


def _quantizer(dim: int, **options: object) -> EMAQuantizer:
    options = {"kind": "ema", "codebook_size": 8, "init": "normal", "restart_below": 0.0, **options}
    quantizer = build_quantizer(parse_quantizer(options), dim)
    assert isinstance(quantizer, EMAQuantizer)
    return quantizer


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), decay=st.sampled_from([0.0, 0.5, 0.99]), padded=st.booleans())
def test_updates_follow_the_papers_equations(seed: int, decay: float, padded: bool) -> None:
    torch.manual_seed(seed)
    quantizer = _quantizer(3, decay=decay)
    codebook, counts = quantizer.codebook, quantizer.ema_counts
    oracle = MovingAverageCodebook(codebook.double().numpy(), counts.double().numpy(), decay)
    for _ in range(4):
        latents = torch.randn(2, 3, 4, 5)
        mask = torch.rand(2, 4, 5) < 0.6 if padded else torch.ones(2, 4, 5, dtype=torch.bool)
        if not mask.any():
            continue
        result = quantizer(latents, mask=mask)
        rows = latents.movedim(1, -1)[mask].double().numpy()
        before = oracle.codebook.copy()
        codes = oracle.step(rows)
        assert np.array_equal(result.codes[:, 0][mask].numpy(), codes)
        error = np.mean((rows - before[codes]) ** 2)
        np.testing.assert_allclose(float(result.losses["commitment"]), error, rtol=1e-5)
        np.testing.assert_allclose(float(result.stats["distortion"]), error, rtol=1e-5)
    for tensor, wanted in ((codebook, oracle.codebook), (counts, oracle.counts)):
        np.testing.assert_allclose(tensor.numpy(), wanted, rtol=1e-4, atol=1e-6)  # a few float32 roundings


def test_half_precision_modules_keep_their_statistics_exact() -> None:
    for dtype in (torch.bfloat16, torch.float16):
        torch.manual_seed(0)
        plain, cast = _quantizer(4), _quantizer(4)
        cast.load_state_dict(plain.state_dict())
        for step in range(3):
            latents = torch.randn(2, 4, 50, generator=torch.Generator().manual_seed(step)).to(dtype)
            cast = cast.to(dtype)
            result = cast(latents)
            plain(latents.float())
            assert result.latents.dtype == cast.decode(result.codes).dtype == dtype
        for name, tensor in plain.state_dict().items():
            assert torch.equal(cast.state_dict()[name], tensor), name


def test_a_bfloat16_module_counts_past_4096() -> None:
    quantizer = _quantizer(2, codebook_size=2, decay=0.0).bfloat16()
    quantizer(torch.zeros(1, 2, 70_001, dtype=torch.bfloat16))
    assert float(quantizer.ema_counts.sum()) == 70_001


def test_an_entry_that_nothing_chooses_stays_where_it_is() -> None:
    quantizer = _quantizer(2, codebook_size=2, decay=0.5)
    quantizer.codebook.copy_(torch.tensor([[0.0, 0.0], [5.0, 7.0]]))
    for _ in range(200):
        quantizer(torch.zeros(1, 2, 3))
    assert torch.equal(quantizer.codebook[1], torch.tensor([5.0, 7.0]))
    quantizer(torch.full((1, 2, 3), 6.0))
    torch.testing.assert_close(quantizer.codebook[1], torch.tensor([6.0, 6.0]))


def test_histogram_is_integer_and_never_zero() -> None:
    quantizer = _quantizer(2, codebook_size=4)
    assert torch.equal(quantizer.code_counts(), torch.full((1, 4), 1 << 18))
    quantizer.codebook.copy_(torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]))
    quantizer(torch.tensor([0.0, 0.0, 0.0, 1.0]).expand(1, 2, 4))
    counts = quantizer.code_counts()
    assert counts.dtype == torch.int64
    assert counts[0, 2:].tolist() == [1, 1]
    assert abs(int(counts[0, 0]) - 3 * int(counts[0, 1])) <= 2
