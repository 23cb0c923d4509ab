import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from codec.metrics import ms_ssim, psnr, score_image, ssim
from tests.metrics.signals import value
from tests.references import similarity


def picture(height: int = 192, width: int = 176, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((1, 3, 12, 11), generator=generator) * 2 - 1
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(-1, 1)[0]


@given(error=st.floats(1e-3, 1), seed=st.integers(0, 20))
def test_psnr_of_a_constant_error_is_analytic(error, seed):
    signal = torch.rand((3, 9, 7), generator=torch.Generator().manual_seed(seed)) - 1
    assert psnr(signal, signal + error).value == pytest.approx(20 * math.log10(2 / error), abs=1e-2)


def test_psnr_agrees_with_the_8_bit_formula():
    ours, theirs = (torch.randint(0, 256, (3, 16, 16)).double() for _ in range(2))
    expected = 10 * math.log10(255**2 / float(((ours - theirs) ** 2).mean()))
    assert psnr(ours / 127.5 - 1, theirs / 127.5 - 1).value == pytest.approx(expected, abs=1e-5)


def test_identical_pictures_are_perfect():
    scores = score_image(picture(), picture())
    assert scores["psnr"].value == math.inf and scores["psnr"].finite is None
    assert scores["ssim"].value == pytest.approx(1, abs=1e-6)
    assert scores["ms_ssim"].value == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("height", "width"), [(11, 11), (12, 40), (176, 189), (205, 176)])
def test_similarity_is_that_of_the_papers(height, width):
    reference = picture(height, width, seed=height)
    estimate = reference + 0.2 * torch.randn(3, height, width, generator=torch.Generator().manual_seed(width))
    ours, theirs = reference.double().numpy(), estimate.double().numpy()
    # float32 moments near 1 have some 1e-7; smooth windows divide that by variances near c2 = 0.0036
    assert ssim(reference, estimate).value == pytest.approx(similarity.ssim(ours, theirs, 2.0), abs=3e-5)
    if height >= 176:
        assert ms_ssim(reference, estimate).value == pytest.approx(similarity.ms_ssim(ours, theirs, 2.0), abs=3e-5)


def test_opposite_pictures_have_no_multi_scale_similarity():
    """Their structure is negative, which a power between 0 and 1 cannot take."""
    assert value(ms_ssim(picture(), -picture())) == 0


def test_more_noise_scores_lower():
    noise = torch.randn((3, 192, 176), generator=torch.Generator().manual_seed(1))
    for metric in (psnr, ssim, ms_ssim):
        scores = [value(metric(picture(), picture() + scale * noise)) for scale in (0.02, 0.1, 0.4)]
        assert scores == sorted(scores, reverse=True)


def test_a_batch_scores_the_mean_of_its_pictures():
    ours = torch.stack([picture(seed=1), picture(seed=2)])
    theirs = ours + 0.1 * torch.randn(ours.shape, generator=torch.Generator().manual_seed(0))
    for metric in (psnr, ssim, ms_ssim):
        singles = [value(metric(a, b)) for a, b in zip(ours, theirs, strict=True)]
        assert metric(ours, theirs).value == pytest.approx(sum(singles) / 2, abs=1e-4)


@pytest.mark.parametrize(
    ("side", "has_ssim", "has_ms_ssim"),
    [(1, False, False), (11, True, False), (175, True, False), (176, True, True)],
)
def test_small_pictures_get_a_reason_where_a_window_does_not_fit(side, has_ssim, has_ms_ssim):
    flat = torch.zeros(3, side, side)
    scores = score_image(flat, flat)
    assert (scores["ssim"].value is not None, scores["ms_ssim"].value is not None) == (has_ssim, has_ms_ssim)
    assert has_ms_ssim or "176 pixels" in scores["ms_ssim"].note


def test_sizes_that_disagree_are_refused():
    with pytest.raises(ValueError, match="must agree"):
        psnr(torch.zeros(3, 4, 4), torch.zeros(3, 4, 5))
