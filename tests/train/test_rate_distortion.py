"""The rate-distortion task: what its figures mean, that it learns, and that what it exports makes files as small."""

import math

import pytest
import torch
from torch import Tensor

from codec.checkpoint import load_model
from codec.checkpoint.prior import load_prior
from codec.core.errors import UserError
from codec.models import build_model
from codec.models.transform import EIGHT_BIT, TransformCodec
from codec.priors.base import Condition, Geometry
from codec.priors.context import ContextConfig, ContextPrior
from codec.priors.context_order import ContextGroup
from codec.train.rate_distortion import RateDistortionTask
from tests.models.kinds import TRANSFORM

PRIOR = ContextConfig(
    head="ordinal",
    rates=(4, 12),
    groups=(ContextGroup(codebooks=4, phases=3, hidden=8), ContextGroup(codebooks=8, phases=2, hidden=8)),
)


def _task(seed: int = 0) -> RateDistortionTask:
    torch.manual_seed(seed)
    model = build_model(TRANSFORM)
    assert isinstance(model, TransformCodec)
    return RateDistortionTask(model, ContextPrior(PRIOR, Geometry.of(model.levels, 0, ndim=2)))


def _clouds(seed: int, size: int = 64) -> Tensor:
    """Smooth pictures `[4, 3, size, size]` in [-1, 1], as grey as photographs are."""
    generator = torch.Generator().manual_seed(seed)
    extent = (size // 16, size // 16)
    coarse = (
        2 * torch.rand(4, 1, *extent, generator=generator) - 1 + 0.1 * torch.randn(4, 3, *extent, generator=generator)
    )
    return torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(-1, 1)


def test_figures_are_the_bits_of_the_codes_and_the_error_of_what_is_decoded():
    task, signal = _task().eval(), _clouds(0)
    stats = task(signal)["stats"]
    for point in TRANSFORM.rates:
        codes = task.model.encode(signal, num_active=point.num_active)
        nats = task.prior.nll(codes[0], Condition()).sum((1, 2, 3))
        bits = nats.mean().item() / math.log(2) / 64**2
        assert float(stats[f"bits_per_pixel/{point.num_active}"]) == pytest.approx(bits, rel=1e-3)
        error = (task.model.decode(codes) - signal).mul(EIGHT_BIT).square().mean((1, 2, 3))
        psnr = float((10 * torch.log10(255**2 / error)).mean())
        assert float(stats[f"psnr/{point.num_active}"]) == pytest.approx(psnr, abs=0.05)  # decode cuts off at [-1, 1]


def test_more_codebooks_cost_more_bits_and_look_better():
    stats = _task().eval()(_clouds(1))["stats"]
    assert stats["bits_per_pixel/12"] > 1.5 * stats["bits_per_pixel/4"]
    assert stats["psnr/12"] > stats["psnr/4"] + 2


def test_before_training_it_is_a_plain_transform_codec_near_its_high_rate_distortion():
    """Error is at most that of dropped coefficients plus step^2 / 12 for each of the others."""
    model, signal = _task().eval().model, _clouds(2)
    coefficients = model.transform(signal)
    for point in TRANSFORM.rates:
        kept = torch.arange(12) < point.num_active
        dropped = signal.square().sum() - coefficients[:, kept].square().sum()
        rounded = model.decode(model.encode(signal, num_active=point.num_active))
        error = (rounded - signal).square().sum()
        cells = coefficients[:, kept].numel() * point.step**2 / 12
        assert dropped <= error * 1.001 and error <= dropped + 1.5 * cells


def test_training_lowers_the_cost_of_pictures_it_has_not_seen():
    task, held_out = _task(), _clouds(99)
    before = float(task.eval()(held_out)["losses"]["rate_distortion"])
    optimizer = torch.optim.AdamW(task.parameters(), lr=3e-3)
    task.train()
    for step in range(60):
        task.total(task(_clouds(step))["losses"]).backward()
        optimizer.step()
        optimizer.zero_grad()
    after = float(task.eval()(held_out)["losses"]["rate_distortion"])
    assert after < 0.9 * before


def test_every_parameter_learns_when_every_rate_is_drawn():
    task = _task().train()
    for parameter in task.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    torch.manual_seed(1)
    for _ in range(4):
        task.total(task(_clouds(3))["losses"]).backward()
    silent = [name for name, parameter in task.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert silent == [
        f"prior.networks.0.{layer}.weight" for layer in ("linear", "first")
    ]  # it comes first, and sees nothing


def test_a_padded_picture_has_the_figures_of_the_picture_itself():
    task, signal = _task().eval(), _clouds(6)
    padded, mask = torch.zeros(4, 3, 128, 96), torch.zeros(4, 128, 96, dtype=torch.bool)
    padded[..., :64, :64], mask[..., :64, :64] = signal, True
    for rate in (0, 1):
        rates = torch.full((4,), rate)
        alone, among = task._cost(signal, rates, None), task._cost(padded, rates, mask)
        torch.testing.assert_close(among.bits_per_pixel, alone.bits_per_pixel, rtol=0.02, atol=0)
        torch.testing.assert_close(among.squared_error, alone.squared_error, rtol=0.02, atol=0)


def test_padding_is_not_counted():
    """Counts make the entropy coder's tables, and files hold no codes of padding."""
    task, mask = _task().train(), torch.zeros(4, 64, 64, dtype=torch.bool)
    mask[..., :32] = True
    task(_clouds(7), mask)
    counts = task.model.running_counts.sum(-1)
    rows = counts.amax(1) / 0.01 / (mask[0].sum() / task.model.downsample_factor**2)
    assert float(rows.sum()) == pytest.approx(4, rel=1e-4)


@pytest.mark.parametrize("wrong", [{"head": "categorical"}, {"rates": None}, {"rates": (2, 12)}])
def test_a_prior_that_does_not_fit_the_rates_is_one_clear_line(wrong):
    model = build_model(TRANSFORM)
    assert isinstance(model, TransformCodec)
    prior = ContextPrior(PRIOR.model_copy(update=wrong), Geometry.of(model.levels, 0, ndim=2))
    with pytest.raises(UserError, match=next(iter(wrong))):
        RateDistortionTask(model, prior)


def test_padding_costs_no_distortion():
    task, signal = _task().eval(), _clouds(4)
    mask = torch.zeros(4, 64, 64, dtype=torch.bool)
    mask[..., :32] = True
    noisy = signal.clone()
    noisy[..., 48:] = torch.rand_like(noisy[..., 48:])
    rate = torch.tensor([0, 1, 0, 1])
    quiet, loud = (task._cost(x, rate, mask).squared_error for x in (signal, noisy))
    torch.testing.assert_close(quiet, loud, rtol=0.2, atol=0)


def test_the_exported_model_and_prior_belong_together_and_give_the_same_codes(tmp_path):
    task, signal = _task().eval(), _clouds(5)
    task.export(tmp_path, name="toy")
    model, prior = load_model(tmp_path, device="cpu"), load_prior(tmp_path, device="cpu")
    assert prior.model_fingerprint == model.fingerprint
    for point in TRANSFORM.rates:
        expected = task.model.encode(signal, num_active=point.num_active)[0]
        assert torch.equal(model.encode(signal, num_active=point.num_active)[0], expected)
