"""The cosine transform is orthonormal and well ordered; the networks beside it start silent and know their reach."""

from typing import TypeVar

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from codec.core.errors import UserError
from codec.core.overlap import Span
from codec.nn.dct import BlockDCT, typical_deviations
from codec.nn.pyramid import Analysis, Floor, Pyramid, RateBias, Synthesis
from codec.nn.shuffle import DepthToSpace, SpaceToDepth

Module = TypeVar("Module", bound=torch.nn.Module)
SMALL = Pyramid(floors=(Floor(stride=4, width=6, units=1), Floor(stride=2, width=8, units=2)))


def _noise(module: Module) -> Module:
    """All weights random, also those that start at zero."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module


def test_all_coefficients_give_the_picture_back():
    signal = torch.rand(2, 3, 16, 24) * 2 - 1
    dct = BlockDCT(8, 192)
    coefficients = dct(signal)
    assert coefficients.shape == (2, 192, 2, 3)
    torch.testing.assert_close(dct.inverse(coefficients), signal, rtol=0, atol=1e-5)
    torch.testing.assert_close(coefficients.square().sum(), signal.square().sum())


def test_the_brightness_coefficients_are_those_of_scipy():
    block = np.random.default_rng(0).normal(size=(8, 8))
    grey = torch.from_numpy(block).float().expand(1, 3, 8, 8)
    spectrum = np.asarray(dctn(block, norm="ortho"))
    wanted = np.sort(np.abs(spectrum).ravel()) * np.sqrt(3)
    got = BlockDCT(8, 192)(grey).abs().flatten().sort().values[-64:].numpy()
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4)


def test_the_first_coefficients_hold_most_of_a_smooth_picture():
    ramp = torch.linspace(-1, 1, 64)
    smooth = torch.stack([ramp[:, None] * ramp, ramp.expand(64, 64), -(ramp**2).expand(64, 64)])[None]
    kept = BlockDCT(16, 48)
    missing = (kept.inverse(kept(smooth)) - smooth).square().mean() / smooth.square().mean()
    assert missing < 0.002
    assert torch.all(typical_deviations(48).diff() < 0)


def test_more_coefficients_than_a_block_has_are_refused():
    with pytest.raises(UserError, match="1 to 192"):
        BlockDCT(8, 193)


def test_floors_that_are_one_and_the_same_object_are_floors_all_the_same():
    one, other = (
        [Floor(stride=2, width=4, units=1)] * 3,
        [Floor(stride=2, width=4, units=1) for _ in range(3)],
    )
    for kind in (Analysis, Synthesis):
        sizes = [
            [
                weight.shape
                for weight in kind(Pyramid(floors=floors), channels=3, latent_dim=5, num_rates=1).parameters()
            ]
            for floors in (tuple(one), tuple(other))
        ]
        assert sizes[0] == sizes[1]


def test_shuffles_are_each_others_inverse():
    signal = torch.rand(2, 3, 8, 12)
    assert torch.equal(DepthToSpace(4)(SpaceToDepth(4)(signal)), signal)
    assert SpaceToDepth(4)(signal).shape == (2, 48, 2, 3)


def test_both_networks_start_silent():
    signal, rate = torch.rand(2, 3, 32, 32), torch.tensor([0, 1])
    latents = Analysis(SMALL, channels=3, latent_dim=5, num_rates=2)(signal, rate)
    assert latents.shape == (2, 5, 4, 4) and not latents.any()
    picture = Synthesis(SMALL, channels=3, latent_dim=5, num_rates=2)(torch.rand(2, 5, 4, 4), signal, rate)
    assert picture.shape == signal.shape and not picture.any()


def test_each_row_is_told_its_own_rate():
    bias = RateBias(3, 4)
    torch.nn.init.normal_(bias.weight)
    signal = torch.rand(2, 4, 5, 5)
    added = bias(signal, torch.tensor([2, 0])) - signal
    torch.testing.assert_close(added, bias.weight[[2, 0]][:, :, None, None].expand_as(added))


def test_latents_depend_on_exactly_the_pixels_that_the_analysis_says():
    network = _noise(Analysis(SMALL, channels=3, latent_dim=2, num_rates=1).double())
    signal = torch.randn(1, 3, 160, 160, dtype=torch.float64, requires_grad=True)
    network(signal, torch.zeros(1, dtype=torch.int64))[..., 10, 10].sum().backward()
    assert _touched(signal) == network.input_span(Span(10, 11))


def test_pixels_depend_on_exactly_the_latents_and_the_draft_that_the_synthesis_says():
    network = _noise(Synthesis(SMALL, channels=3, latent_dim=2, num_rates=1).double())
    latents = torch.randn(1, 2, 20, 20, dtype=torch.float64, requires_grad=True)
    draft = torch.randn(1, 3, 160, 160, dtype=torch.float64, requires_grad=True)
    network(latents, draft, torch.zeros(1, dtype=torch.int64))[..., 81, 81].sum().backward()
    of_latents, of_draft = network.input_spans(Span(81, 82))
    assert _touched(latents) == of_latents and _touched(draft) == of_draft


def _touched(signal: torch.Tensor) -> Span:
    assert signal.grad is not None
    rows = signal.grad.abs().sum((0, 1, 3)).nonzero()
    return Span(int(rows.min()), int(rows.max()) + 1)
